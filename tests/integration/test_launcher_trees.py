"""Whole process trees: what a stop, a kill and a crash leave behind. Nothing."""

from __future__ import annotations

import dataclasses
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.launcher.devices import openers
from manager.launcher.local import LocalLauncher
from manager.launcher.processes import launch_of, read_stat
from manager.launcher.protocol import Liveness
from manager.launcher.run_dir import RunDir
from tests.support.launcher import (
    ONE,
    TORTURE,
    TWO,
    alive,
    launching,
    noted,
    spec,
    wait_gone,
    wait_log,
    with_marker,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

TREE = 24
"""The torture tree keeps at least so many processes alive at once."""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def launcher(runs: Path) -> Iterator[LocalLauncher]:
    with launching(runs) as launcher:
        yield launcher


def torture(launcher: LocalLauncher, tmp_path: Path, *words: str) -> Path:
    pids = tmp_path / "pids"
    launcher.start(spec(ONE, tmp_path, str(TORTURE), str(pids), *words))
    wait_log(launcher, ONE, "ready")
    if "--calm" not in words:
        wait_until(lambda: len(alive(pids)) >= TREE, what="the whole tree")
    return pids


def supervisor_of(runs: Path, launch_id: str = ONE) -> int:
    chief, _ = RunDir(runs / launch_id).identities()
    assert chief is not None
    return chief.pid


@pytest.mark.parametrize("force", [False, True])
def test_stop_leaves_nothing_of_a_tree_that_tries_to_stay(
    launcher: LocalLauncher, tmp_path: Path, force: bool
) -> None:
    pids = torture(launcher, tmp_path)
    launcher.stop(ONE, force=force)
    report = wait_gone(launcher, ONE)
    assert report.exit_code == (-signal.SIGKILL if force else -signal.SIGTERM)
    assert alive(pids) == []
    assert with_marker(ONE) == []


def test_crash_of_the_main_process_ends_the_rest_and_keeps_the_code(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    pids = torture(launcher, tmp_path, "--stay", "1", "--exit-code", "3")
    assert wait_gone(launcher, ONE).exit_code == 3
    assert alive(pids) == []


def test_polite_stop_does_not_end_who_ignores_it_and_force_does(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    pids = torture(launcher, tmp_path, "--calm", "--deaf")
    launcher.stop(ONE, force=False)
    launcher.stop(ONE, force=False)
    assert launcher.poll(ONE).liveness is Liveness.ALIVE
    assert len(alive(pids)) == 1
    launcher.stop(ONE, force=True)
    assert wait_gone(launcher, ONE).exit_code == -signal.SIGKILL
    assert alive(pids) == []


def test_survivors_of_a_killed_supervisor_are_alive_until_they_are_ended(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    pids = torture(launcher, tmp_path, "--calm")
    main = noted(pids)[0].pid
    os.kill(supervisor_of(runs), signal.SIGKILL)
    wait_until(lambda: not RunDir(runs / ONE).locked(), what="lock free")
    assert launcher.poll(ONE) == launcher.poll(ONE)
    assert launcher.poll(ONE).liveness is Liveness.ALIVE
    assert launcher.poll(ONE).pid == main
    assert launcher.list() == [ONE]
    launcher.stop(ONE, force=True)
    assert wait_gone(launcher, ONE).exit_code is None
    assert alive(pids) == []
    assert launcher.list() == []


def test_survivors_of_a_killed_supervisor_end_politely_too(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    pids = torture(launcher, tmp_path, "--calm")
    os.kill(supervisor_of(runs), signal.SIGKILL)
    wait_until(lambda: not RunDir(runs / ONE).locked(), what="lock free")
    launcher.stop(ONE, force=False)
    wait_gone(launcher, ONE)
    assert alive(pids) == []


@pytest.mark.parametrize("patience", [3.0, 0.0], ids=["continued", "done without it"])
def test_a_stopped_supervisor_keeps_nothing_alive(
    launcher: LocalLauncher,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    patience: float,
) -> None:
    monkeypatch.setattr("manager.launcher.local.STUCK_AFTER_S", patience)
    pids = torture(launcher, tmp_path)
    os.kill(supervisor_of(runs), signal.SIGSTOP)
    launcher.stop(ONE, force=False)
    assert launcher.poll(ONE).liveness is Liveness.ALIVE
    launcher.stop(ONE, force=True)
    # A supervisor that was continued saw the end; one that was passed over could not.
    assert wait_gone(launcher, ONE).exit_code == (-signal.SIGKILL if patience else None)
    assert alive(pids) == []
    assert with_marker(ONE) == []


def test_a_supervisor_stopped_under_an_earlier_manager_too(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    pids = torture(launcher, tmp_path, "--calm")
    os.kill(supervisor_of(runs), signal.SIGSTOP)
    LocalLauncher(runs).stop(ONE, force=True)
    wait_gone(launcher, ONE)
    assert alive(pids) == []


def test_what_a_killed_supervisor_left_is_told_from_what_is_supervised(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    torture(launcher, tmp_path, "--calm")
    assert launcher.poll(ONE).supervised
    os.kill(supervisor_of(runs), signal.SIGKILL)
    wait_until(lambda: not launcher.poll(ONE).supervised, what="seen")
    assert launcher.poll(ONE).liveness is Liveness.ALIVE


def test_a_launch_is_described_by_what_was_noted_before_it_began(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    labels = {"username": "ann", "port": "8001"}
    launcher.start(dataclasses.replace(spec(ONE, tmp_path, "-c", "pass"), labels=labels))
    facts = LocalLauncher(runs).describe(ONE)
    assert facts.labels == labels
    assert facts.since is not None
    assert stat.S_IMODE((runs / ONE / "meta").stat().st_mode) == 0o600
    unknown = launcher.describe("never-was")
    assert (unknown.labels, unknown.since) == ({}, None)


def test_a_stop_before_the_supervisor_is_up_starts_nothing_that_stays(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    launcher.start(spec(ONE, tmp_path, str(TORTURE), str(pids)))
    launcher.stop(ONE, force=False)
    wait_gone(launcher, ONE)
    assert alive(pids) == []
    assert with_marker(ONE) == []


def test_another_launchers_and_foreign_processes_are_left_alone(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    pids = torture(launcher, tmp_path, "--calm")
    command = [sys.executable, str(TORTURE), str(pids) + ".foreign", "--calm"]
    foreign = [
        # The same command line, the same name, and a marker that only looks alike.
        subprocess.Popen(command, stdout=subprocess.DEVNULL, env={}),
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, env={"COMFYUI_MANAGER_LAUNCH": ONE + "2"}
        ),
        subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            env={"NOTE": f"COMFYUI_MANAGER_LAUNCH={ONE}", "X_COMFYUI_MANAGER_LAUNCH": ONE},
        ),
    ]
    try:
        wait_until(lambda: len(alive(Path(str(pids) + ".foreign"))) == len(foreign))
        os.kill(supervisor_of(tmp_path / "runs"), signal.SIGKILL)
        wait_until(lambda: not RunDir(tmp_path / "runs" / ONE).locked(), what="lock free")
        launcher.stop(ONE, force=True)
        wait_gone(launcher, ONE)
        assert alive(pids) == []
        assert [child.poll() for child in foreign] == [None] * len(foreign)
    finally:
        for child in foreign:
            child.kill()
            child.wait()


def test_the_instance_gets_nothing_of_the_managers_files_and_a_private_umask(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    code = (
        "import os, sys; print(sorted(os.listdir('/proc/self/fd'))[:4], oct(os.umask(0)), "
        "os.readlink('/proc/self/fd/0'), os.getsid(0) == os.getpid(), "
        "os.environ['COMFYUI_MANAGER_LAUNCH'])"
    )
    launcher.start(spec(ONE, tmp_path, "-c", code))
    wait_gone(launcher, ONE)
    # 3 is the listing's own descriptor.
    assert f"['0', '1', '2', '3'] 0o77 /dev/null True {ONE}" in launcher.logs(ONE, 4096)


def test_orphans_are_handed_to_the_supervisor(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    if os.fork() == 0:\n"
        "        print('orphan', os.getpid(), flush=True)\n"
        "        time.sleep(600)\n"
        "    os._exit(0)\n"
        "os.wait(); time.sleep(600)\n"
    )
    launcher.start(spec(ONE, tmp_path, "-c", code))
    wait_log(launcher, ONE, "orphan")
    orphan = int(launcher.logs(ONE, 4096).split()[1])

    def parent() -> int:
        stat = read_stat(orphan)
        assert stat is not None
        return stat.parent

    wait_until(lambda: parent() == supervisor_of(runs), what="adoption")


OPENS = "import os, time; os.open('/dev/full', os.O_RDONLY); print('ready', flush=True); "
ESCAPES = (
    "import os, sys, time\n"
    "WAIT = 'import time; time.sleep(600)'\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        os.open('/dev/full', os.O_RDONLY)\n"
    "        print('escaped', os.getpid(), flush=True)\n"
    "        os.set_inheritable(os.open('/dev/full', os.O_RDONLY), True)\n"
    "        os.execve(sys.executable, [sys.executable, '-c', WAIT], {})\n"
    "    os._exit(0)\n"
    "os.wait(); time.sleep(600)\n"
)


def test_a_launch_that_was_claimed_but_never_begun_is_begun(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    # A manager was killed after it had made the directory, and before the supervisor.
    assert RunDir(runs / ONE).create({"launch_id": ONE})
    assert launcher.poll(ONE).liveness is Liveness.GONE
    pids = tmp_path / "pids"
    wanted = spec(ONE, tmp_path, str(TORTURE), str(pids), "--calm")
    launcher.start(dataclasses.replace(wanted, secret="s" * 32, labels={"port": "8001"}))
    wait_log(launcher, ONE, "ready")
    assert RunDir(runs / ONE).secret.read_text() == "s" * 32
    assert launcher.describe(ONE).labels == {"port": "8001"}
    assert launcher.poll(ONE).liveness is Liveness.ALIVE
    # Killed above it, the tree must not be taken for the one that never was.
    os.kill(supervisor_of(runs), signal.SIGKILL)
    wait_until(lambda: not RunDir(runs / ONE).locked(), what="lock free")
    assert launcher.poll(ONE).liveness is Liveness.ALIVE
    assert len(alive(pids)) == 1


def test_a_launch_that_has_ended_is_not_begun_again(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    launcher.start(spec(ONE, tmp_path, "-c", "pass"))
    wait_gone(launcher, ONE)
    again = LocalLauncher(runs)
    again.start(spec(ONE, tmp_path, "-c", "import time; time.sleep(600)"))
    assert again.poll(ONE).liveness is Liveness.GONE
    assert with_marker(ONE) == []


def test_only_what_may_have_come_from_a_launch_is_suspected(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    before = subprocess.Popen(
        [sys.executable, "-c", OPENS + "time.sleep(600)"], stdout=subprocess.PIPE
    )
    assert before.stdout is not None
    before.stdout.readline()
    launcher.start(spec(TWO, tmp_path, "-c", OPENS + "time.sleep(600)"))
    launcher.start(spec(ONE, tmp_path, "-c", ESCAPES))
    wait_log(launcher, ONE, "escaped")
    wait_log(launcher, TWO, "ready")
    escaped = int(launcher.logs(ONE, 4096).split()[1])
    try:
        wait_until(lambda: launch_of(escaped) == "", what="the mark is dropped")
        # The supervisor first: it would have taken the orphan with it.
        os.kill(supervisor_of(runs), signal.SIGKILL)
        wait_until(lambda: not RunDir(runs / ONE).locked(), what="lock free")
        launcher.stop(ONE, force=True)
        wait_gone(launcher, ONE)
        assert {before.pid, escaped} <= set(openers(Path("/dev/full")))
        assert launcher.holders(ONE, Path("/dev/full")) == [escaped]
        assert launcher.holders("never-was", Path("/dev/full")) == []
    finally:
        for pid in (escaped, before.pid):
            os.kill(pid, signal.SIGKILL)
        before.wait()
        before.stdout.close()
