"""Control groups and accounts: what each of them ends alone, and all together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import identity
from manager.launcher import account, cgroups, groups, trees
from manager.launcher.groups import Groups
from manager.launcher.layers import Layers
from manager.launcher.local import LocalLauncher
from manager.launcher.processes import launch_of
from manager.launcher.protocol import Liveness
from manager.launcher.run_dir import RunDir
from manager.launcher.runs import CLAIM_S
from tests.support.launcher import ONE, TWO, launching, wait_gone, wait_log
from tests.support.layers import (
    OURS,
    STRANGER,
    UID,
    begin,
    kill_supervisor,
    left,
    made,
    note,
    open_folder,
    strangers,
    torture,
)
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parent.parent.parent
WAITS = ("-c", "print('ready', flush=True); import time; time.sleep(600)")
UNMARKED = 2
"""Processes of the tree that drop the mark and their parents, and stay as they are."""

OWN = groups._own_groups()


def usable() -> Groups:
    """Say what there is here, on trial; somebody's desk may have nothing."""
    found = groups.find()
    if not found.kinds or os.geteuid() != 0:
        if os.environ.get("CI"):
            pytest.fail("no control group can be made here")
        pytest.skip("needs root and control groups")
    return found


@pytest.fixture
def found() -> Groups:
    return usable()


@pytest.fixture
def folder(found: Groups) -> Iterator[Path]:
    with open_folder() as folder:
        yield folder


@pytest.fixture
def runs(folder: Path) -> Path:
    return folder / "runs"


@pytest.fixture
def launcher(runs: Path) -> Iterator[LocalLauncher]:
    with launching(runs) as launcher:
        yield launcher


def unhit(others: list[subprocess.Popen[bytes]]) -> bool:
    return [child.poll() for child in others] == [None] * len(others)


def only(kind: str) -> Groups:
    """Give the groups of one hierarchy, as if there were no other one."""
    if kind not in OWN and not os.environ.get("CI"):
        pytest.skip(f"no {kind} here")
    return Groups({kind: OWN[kind]})


@pytest.mark.parametrize("way", ["v2", "v2 by freezing", "freezer", "pids", "memory"])
def test_each_kind_of_group_alone_leaves_nothing(
    launcher: LocalLauncher, runs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "v2 by freezing":
        # As with Linux 5.2 to 5.13.
        monkeypatch.setattr(cgroups, "KILL", "cgroup.no-such-file")
    with strangers(folder, ONE) as others, made(only(way.split()[0]), ONE) as paths:
        pids = torture(launcher, runs, folder, ONE, groups=paths)
        kill_supervisor(runs, ONE)
        Layers(paths).end()
        wait_until(lambda: not cgroups.members(paths), what="group empty")
        assert left(pids, ONE) == set()
        assert unhit(others)


def test_the_account_alone_leaves_nothing(
    launcher: LocalLauncher, runs: Path, folder: Path
) -> None:
    with strangers(folder, ONE) as others:
        pids = torture(launcher, runs, folder, ONE, UID)
        kill_supervisor(runs, ONE)
        assert account.end(UID, OURS)
        assert left(pids, ONE) == set()
        assert unhit(others)


def test_the_supervisor_alone_leaves_nothing_of_another_account(
    launcher: LocalLauncher, runs: Path, folder: Path
) -> None:
    with strangers(folder, ONE) as others:
        pids = torture(launcher, runs, folder, ONE, UID)
        note(runs / ONE, 0, ())
        launcher.stop(ONE, force=True)
        wait_gone(launcher, ONE)
        assert left(pids, ONE) == set()
        assert unhit(others)


def test_the_marks_alone_miss_who_dropped_them_and_hit_nobody_else(
    launcher: LocalLauncher, runs: Path, folder: Path, found: Groups
) -> None:
    # The groups are the test's own, to clean up: nobody else is told of them.
    with strangers(folder, ONE) as others, made(found, ONE) as paths:
        pids = torture(launcher, runs, folder, ONE, groups=paths)
        note(runs / ONE, 0, ())
        _, main = RunDir(runs / ONE).identities()
        dropped = unmarked(pids)
        kill_supervisor(runs, ONE)
        trees.end_survivors(ONE, main, force=True)
        assert dropped <= left(pids, ONE)
        assert unhit(others)


def unmarked(pids: Path) -> set[int]:
    """Wait for those who drop the mark: one is a new program, one has wiped its memory."""

    def found() -> set[int]:
        return {pid for pid in left(pids, ONE) if launch_of(pid) == ""}

    def stay() -> set[int]:
        # Others of the tree have no environment either, while they end.
        both = found() & found()
        return both if len(both) == UNMARKED else set()

    return wait_until(stay, what="the marks are dropped")


@pytest.mark.parametrize("way", ["killed", "well"])
def test_all_layers_together_leave_nothing(
    launcher: LocalLauncher,
    runs: Path,
    folder: Path,
    found: Groups,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    with strangers(folder, ONE) as others, made(found, ONE) as paths:
        pids = torture(launcher, runs, folder, ONE, UID, paths)
        if way == "killed":
            kill_supervisor(runs, ONE)
            assert launcher.poll(ONE).supervised is False
            # Known to whoever comes later, too.
            launcher = LocalLauncher(runs)
        launcher.stop(ONE, force=True)
        assert wait_gone(launcher, ONE).liveness is Liveness.GONE
        assert left(pids, ONE) == set()
        assert not any(path.exists() for path in paths)
        assert unhit(others)


def test_an_account_whose_processes_kill_all_others_of_it_is_ended_too(
    launcher: LocalLauncher, runs: Path
) -> None:
    kills = "import os\nprint('ready', flush=True)\nwhile True:\n    os.kill(-1, 9)\n"
    # The supervisor is root's, so they cannot; and whoever ends them must not be hit either.
    begin(launcher, runs, ONE, ("-c", kills.replace("    os.kill", HARMLESS)), UID)
    wait_log(launcher, ONE, "ready")
    kill_supervisor(runs, ONE)
    assert account.end(UID, OURS)
    wait_gone(launcher, ONE)


HARMLESS = "    try: os.kill(-1, 9)\n    except ProcessLookupError: pass\n    #"
"""With nobody else to kill, kill(2) says so."""


def test_what_a_supervisor_says_is_gone_is_checked(
    launcher: LocalLauncher, runs: Path, found: Groups
) -> None:
    with made(found, ONE) as paths:
        begin(launcher, runs, ONE, WAITS, UID, paths)
        wait_log(launcher, ONE, "ready")
        _, main = RunDir(runs / ONE).identities()
        kill_supervisor(runs, ONE)
        (runs / ONE / "gone").touch()
        for uid, groups_of_it in ((UID, ()), (0, paths)):
            note(runs / ONE, uid, groups_of_it)
            report = launcher.poll(ONE)
            assert main is not None
            assert (report.liveness, report.pid, report.supervised) == (
                Liveness.ALIVE,
                main.pid,
                False,
            )
        # Neither is its directory removed, by which alone it is known.
        assert launcher.prune(keep=0) == 0
        launcher.stop(ONE, force=True)
        wait_gone(launcher, ONE)
        assert not any(path.exists() for path in paths)


@pytest.mark.parametrize("layer", ["account", "groups"])
def test_who_dropped_every_mark_is_the_launchs_own_still(
    launcher: LocalLauncher, runs: Path, found: Groups, layer: str
) -> None:
    with made(found, ONE) as paths:
        uid, its_groups = (UID, ()) if layer == "account" else (0, paths)
        begin(launcher, runs, ONE, ("-c", ESCAPES), uid, its_groups)
        wait_log(launcher, ONE, "escaped")
        escaped = int(launcher.logs(ONE, 4096).split()[1])
        wait_until(lambda: launch_of(escaped) == "", what="the mark is dropped")
        _, main = RunDir(runs / ONE).identities()
        kill_supervisor(runs, ONE)
        assert main is not None
        identity.send(main, signal.SIGKILL)
        wait_until(lambda: not identity.alive(main), what="main process gone")
        report = launcher.poll(ONE)
        assert (report.liveness, report.pid) == (Liveness.ALIVE, escaped)
        assert launcher.list() == [ONE]
        # Another manager finds it, too.
        LocalLauncher(runs).stop(ONE, force=True)
        wait_gone(launcher, ONE)
        assert identity.read(escaped) is None


ESCAPES = (
    "import os, sys, time\n"
    "WAIT = 'import time; time.sleep(600)'\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        print('escaped', os.getpid(), flush=True)\n"
    "        os.execve(sys.executable, [sys.executable, '-c', WAIT], {})\n"
    "    os._exit(0)\n"
    "os.wait(); time.sleep(600)\n"
)


def test_groups_of_launches_that_are_gone_are_removed_with_them(
    launcher: LocalLauncher, runs: Path, found: Groups
) -> None:
    with made(found, ONE) as paths:
        # As a manager leaves them that was killed right after it had made them.
        (paths[0] / "made-by-the-instance").mkdir()
        assert RunDir(runs / ONE).create({"groups": [str(path) for path in paths]})
        assert launcher.poll(ONE).liveness is Liveness.GONE
        launcher.prune(keep=1)
        assert all(path.exists() for path in paths), "its supervisor may be on its way"
        long_ago = time.time() - CLAIM_S - 1
        os.utime(runs / ONE / "meta", (long_ago, long_ago))
        launcher.prune(keep=1)
        assert not any(path.exists() for path in (*paths, runs / ONE))
    with made(found, ONE) as paths:
        assert RunDir(runs / ONE).create({"groups": [str(path) for path in paths]})
        RunDir(runs / ONE).mark_gone()
        assert launcher.prune(keep=1) == 0
        assert not any(path.exists() for path in paths)
    with made(found, ONE) as paths:
        assert launcher.prune(keep=0) == 1
        assert not any(path.exists() for path in paths)


def test_an_account_that_another_launch_has_too_is_left_to_the_other_layers(
    launcher: LocalLauncher, runs: Path, folder: Path, found: Groups
) -> None:
    begin(launcher, runs, TWO, WAITS, UID)
    wait_log(launcher, TWO, "ready")
    _, other = RunDir(runs / TWO).identities()
    assert other is not None
    with made(found, ONE) as paths:
        pids = torture(launcher, runs, folder, ONE, UID, paths)
        note(runs / ONE, UID, ())
        dropped = unmarked(pids)
        kill_supervisor(runs, ONE)
        launcher.stop(ONE, force=True)
        report = launcher.poll(TWO)
        assert (report.liveness, report.pid) == (Liveness.ALIVE, other.pid)
        assert dropped <= left(pids, ONE)
        # Whoever may have come from it still is suspected of holding its card.
        suspected = trees.suspects(RunDir(runs / ONE), ONE, [*dropped, other.pid])
        assert suspected == sorted(dropped)
        launcher.stop(TWO, force=True)
        wait_gone(launcher, TWO)
        # Now it is the last one that had the account, and is gone when nobody of it is left.
        (runs / ONE / "gone").unlink(missing_ok=True)
        launcher.stop(ONE, force=True)
        wait_gone(launcher, ONE)
        assert left(pids, ONE) == set()


def test_who_cannot_be_interrupted_is_alive_until_it_is_really_gone(
    launcher: LocalLauncher, runs: Path
) -> None:
    outer = only("freezer").make("outer")[0]
    try:
        kinds = Groups({"freezer": outer, **only("pids").parents})
        with made(kinds, ONE) as paths:
            begin(launcher, runs, ONE, WAITS, UID, paths)
            wait_log(launcher, ONE, "ready")
            # Frozen from above, it sleeps as if a device did not answer: not even SIGKILL wakes it.
            cgroups.write([outer], "freezer.state", "FROZEN")
            kill_supervisor(runs, ONE)
            launcher.stop(ONE, force=True)
            assert launcher.poll(ONE).liveness is Liveness.ALIVE
            assert launcher.list() == [ONE]
            # Nor does it fork any more, should it wake before it dies.
            assert (paths[1] / "pids.max").read_text() == "0\n"
            cgroups.write([outer], "freezer.state", "THAWED")
            wait_gone(launcher, ONE)
    finally:
        cgroups.write([outer], "freezer.state", "THAWED")
        cgroups.remove([outer])


@pytest.mark.parametrize(
    ("limit", "code", "told"),
    [
        ("memory_max", "x = bytearray(200 << 20); print('all of it')", -9),
        ("processes_max", "import os\nwhile True:\n    os.fork()", 1),
    ],
)
def test_limits_hold_for_all_of_a_launch(
    launcher: LocalLauncher, runs: Path, found: Groups, limit: str, code: str, told: int
) -> None:
    assert found.can_limit_memory
    assert found.can_limit_processes
    most = {"memory_max": 64 << 20} if limit == "memory_max" else {"processes_max": 20}
    with made(found, ONE, **most) as paths:
        begin(launcher, runs, ONE, ("-c", code), UID, paths)
        assert wait_gone(launcher, ONE).exit_code == told
        assert "all of it" not in launcher.logs(ONE, 1 << 16)


def in_other_mounts(script: str, code: str = "") -> str:
    """Run ``groups.find`` where the hierarchies are mounted differently."""
    ask = code or "from manager.launcher import groups; print(groups.find())"
    words = ("unshare", "--mount", "sh", "-c", f'{script} && exec "$@"', "sh")
    done = subprocess.run(
        [*words, sys.executable, "-c", ask],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


V2_ONLY = "mount -t cgroup2 none /sys/fs/cgroup"
LIMITLESS = "can_limit_memory=False, can_limit_processes=False"


def test_with_version_2_alone_groups_are_made_in_the_managers_own(found: Groups) -> None:
    own = only("v2").make("own")[0]
    try:
        said = in_other_mounts(f"echo $$ > {own}/cgroup.procs && {V2_ONLY}")
        place = Path("/sys/fs/cgroup") / own.name
        assert said == f"Groups(parents={{'v2': {place!r}}}, {LIMITLESS})"
    finally:
        cgroups.remove([own])


def test_with_version_1_alone_the_freezer_is_used(found: Groups) -> None:
    said = in_other_mounts("umount /sys/fs/cgroup/unified")
    assert "'v2'" not in said
    assert "'freezer'" in said
    assert "can_limit_memory=True, can_limit_processes=True" in said


@pytest.mark.parametrize("way", ["nothing mounted", "nothing writable", "another account"])
def test_where_no_group_can_be_made_there_is_none(found: Groups, way: str) -> None:
    scripts = {
        "nothing mounted": "mount -t tmpfs none /sys/fs/cgroup",
        "nothing writable": "for d in /sys/fs/cgroup/*/; do mount -o remount,bind,ro $d; done",
        "another account": "true",
    }
    code = "from manager.launcher import groups; import os; "
    if way == "another account":
        # What that account might not be able to read is loaded before.
        code += f"import encodings.ascii; os.setresuid({STRANGER}, {STRANGER}, {STRANGER}); "
    said = in_other_mounts(scripts[way], code + "print(groups.find())")
    assert said == f"Groups(parents={{}}, {LIMITLESS})"
