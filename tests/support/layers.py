"""Launches with control groups and an account of their own, and strangers that must not be hit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manager import identity
from manager.launcher import account, cgroups
from manager.launcher.groups import Groups
from manager.launcher.local import LocalLauncher
from manager.launcher.processes import PROC
from manager.launcher.protocol import LaunchSpec
from manager.launcher.run_dir import RunDir
from tests.support.launcher import TORTURE, alive, wait_log, with_marker
from tests.support.waiting import wait_until

OURS = account.accounts(account.BASE)
UID = account.BASE + 100_000 + os.getpid() % 100_000
"""This test run's own: another one at the same time would end its processes."""

STRANGER = UID + 100_000
"""An account of the same range that no launch has."""

SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
"""A Python that every account may run: the tests' own may lie in root's home."""

TREE = 45
"""Processes alive at once in the torture tree, at least."""

_ENTER = (
    "import os, sys\n"
    "uid, count = int(sys.argv[1]), int(sys.argv[2])\n"
    "groups, words = sys.argv[3:3 + count], sys.argv[3 + count:]\n"
    "for path in groups:\n"
    "    open(path + '/cgroup.procs', 'w').write('0')\n"
    "if uid:\n"
    "    os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)\n"
    "os.execv(words[0], words)\n"
)


@contextmanager
def open_folder() -> Iterator[Path]:
    """Lend a folder that every account can pass through and write to, with the tree in it."""
    with tempfile.TemporaryDirectory(prefix="layers-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        shutil.copy(TORTURE, folder / "torture.py")
        (folder / "torture.py").chmod(0o644)
        yield folder


@contextmanager
def made(kinds: Groups, launch_id: str, **limits: int) -> Iterator[tuple[Path, ...]]:
    """Lend a launch's groups; nobody may be in them at the end."""
    paths = kinds.make(launch_id, **limits)
    try:
        yield paths
    finally:
        cgroups.end(paths)
        wait_until(lambda: not cgroups.members(paths), what="groups empty")
        cgroups.remove(paths)
        assert not any(path.exists() for path in paths)


def begin(
    launcher: LocalLauncher,
    runs: Path,
    launch_id: str,
    words: tuple[str, ...],
    uid: int = 0,
    groups: tuple[Path, ...] = (),
) -> None:
    """Start a program in groups and under an account, and note both as a launch has them."""
    enter = (sys.executable, "-I", "-S", "-c", _ENTER, str(uid), str(len(groups)))
    argv = (*enter, *map(str, groups), SYSTEM_PYTHON, *words)
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    launcher.start(LaunchSpec(launch_id, argv, env, Path("/"), 1 << 20))
    note(runs / launch_id, uid, groups)


def note(path: Path, uid: int, groups: tuple[Path, ...]) -> None:
    """Add to a launch's ``meta`` what holds it."""
    meta = json.loads((path / "meta").read_text())
    meta |= {"uid": uid or None, "groups": [str(one) for one in groups]}
    (path / "meta").write_text(json.dumps(meta))


def torture(
    launcher: LocalLauncher,
    runs: Path,
    folder: Path,
    launch_id: str,
    uid: int = 0,
    groups: tuple[Path, ...] = (),
) -> Path:
    """Start the tree that does everything to outlive its end; gives its pid file."""
    pids = folder / f"pids-{launch_id}"
    pids.touch()
    pids.chmod(0o666)
    begin(launcher, runs, launch_id, (str(folder / "torture.py"), str(pids)), uid, groups)
    wait_log(launcher, launch_id, "ready")
    wait_until(lambda: len(alive(pids)) >= TREE, what="the whole tree")
    return pids


def kill_supervisor(runs: Path, launch_id: str) -> None:
    """Take away who holds the tree together."""
    chief, _ = RunDir(runs / launch_id).identities()
    assert chief is not None
    assert identity.send(chief, signal.SIGKILL)
    wait_until(lambda: not RunDir(runs / launch_id).locked(), what="lock free")


def left(pids: Path, launch_id: str) -> set[int]:
    """Say who of a tree lives, by all that the tests know of it."""
    return {*alive(pids), *with_marker(launch_id), *named_with(str(pids))}


def named_with(text: str) -> list[int]:
    """Find who was started with ``text`` in its words: also those who noted themselves nowhere."""
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
                state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if text.encode() in words and state not in b"ZX":
                found.append(int(entry.name))
    return found


@contextmanager
def strangers(folder: Path, launch_id: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Have processes about that belong to no launch: root's, alike ones, another account's."""
    command = [SYSTEM_PYTHON, str(folder / "torture.py"), str(folder / "strangers"), "--calm"]
    (folder / "strangers").touch()
    (folder / "strangers").chmod(0o666)
    environments: list[tuple[dict[str, str], int]] = [
        ({}, 0),
        ({"COMFYUI_MANAGER_LAUNCH": launch_id + "2"}, 0),
        ({"NOTE": f"COMFYUI_MANAGER_LAUNCH={launch_id}"}, STRANGER),
        ({}, STRANGER),
        ({}, 65534),
    ]
    children = [
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _ENTER, str(uid), "0", *command],
            stdout=subprocess.DEVNULL,
            env=env,
        )
        for env, uid in environments
    ]
    try:
        wait_until(lambda: len(alive(folder / "strangers")) == len(children), what="strangers")
        yield children
    finally:
        for child in children:
            child.kill()
            child.wait()
