"""The local launcher: starts, failures, logs, ports, and launches of a manager that is no more."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import identity
from manager.errors import LaunchFailed
from manager.launcher import supervisor
from manager.launcher.local import LocalLauncher
from manager.launcher.protocol import LaunchSpec, Liveness
from manager.launcher.run_dir import RunDir
from manager.records import Address
from tests.support.launcher import (
    ONE,
    TWO,
    launching,
    spec,
    unique,
    wait_gone,
    wait_log,
    with_marker,
)
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

LEFT = unique("left")
LIVING = unique("living")
SLEEP = ("-c", "import time; print('up', flush=True); time.sleep(600)")
FORK_AND_WAIT = """
import os, time
os.fork()
print('up', flush=True)
time.sleep(600)
"""
FULL_AT_THE_SECOND_RECORD = """
import sys
sys.path.insert(0, sys.argv[1])
from manager.launcher import supervisor
honest = supervisor.write_record
def full(run_dir, child):
    if child is not None:
        raise OSError(28, "No space left on device")
    honest(run_dir, child)
supervisor.write_record = full
sys.exit(supervisor.main(sys.argv[2], 65536, ["/bin/sh", "-c", sys.argv[3]]))
"""
UNDER_EVENTLET = """
import sys
sys.path.insert(0, sys.argv[1])
from manager import runtime
runtime.setup("eventlet")
from pathlib import Path
from manager.launcher.local import LocalLauncher
from tests.support.launcher import spec, wait_gone, wait_log, with_marker
runs, port, one = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
launcher = LocalLauncher(runs)
words = ("-c", sys.argv[5], str(port), "127.0.0.1")
launcher.start(spec(one, runs.parent, *words, port=port))
wait_log(launcher, one, "listening")
owned = launcher.answers_itself(one)
launcher.stop(one, force=False)
print(owned, wait_gone(launcher, one).exit_code)
"""
LISTEN = """
import socket, sys, time
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
server.bind((sys.argv[2], int(sys.argv[1])))
server.listen()
print('listening', flush=True)
time.sleep(600)
"""
OTHER_MANAGER = """
import os, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.support.launcher import LocalLauncher, spec, wait_log
launcher = LocalLauncher(Path(sys.argv[2]))
launcher.start(spec(sys.argv[4], Path(sys.argv[2]).parent, "-c", sys.argv[3]))
wait_log(launcher, sys.argv[4], "up")
os._exit(9)
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def launcher(runs: Path) -> Iterator[LocalLauncher]:
    with launching(runs) as launcher:
        yield launcher


def test_an_unknown_launch_is_gone_and_stopping_it_harms_nobody(launcher: LocalLauncher) -> None:
    assert launcher.poll("never").liveness is Liveness.GONE
    launcher.stop("never", force=True)
    assert launcher.logs("never", 100) == ""
    assert launcher.list() == []
    assert launcher.address("never") is None


def test_a_launch_answers_where_it_was_told_to(launcher: LocalLauncher, runs: Path) -> None:
    launcher.start(spec(ONE, runs.parent, *SLEEP, port=8123))
    launcher.start(spec(TWO, runs.parent, *SLEEP))
    for one in (launcher, LocalLauncher(runs)):
        assert one.address(ONE) == Address("127.0.0.1", 8123)
        assert one.address(TWO) is None
    (runs / ONE / "meta").write_text("{")
    assert launcher.address(ONE) is None


def test_a_launch_is_alive_from_the_first_moment_and_known_by_its_pid(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    launcher.start(spec(ONE, tmp_path, *SLEEP))
    # Between the fork and the supervisor's lock nothing is on the disk yet.
    assert launcher.poll(ONE).liveness is Liveness.ALIVE
    assert launcher.list() == [ONE]
    wait_log(launcher, ONE, "up")
    pid = launcher.poll(ONE).pid
    assert pid is not None
    assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[2] == SLEEP[1].encode()


def test_the_same_launch_twice_starts_nothing(launcher: LocalLauncher, tmp_path: Path) -> None:
    launcher.start(spec(ONE, tmp_path, *SLEEP))
    wait_log(launcher, ONE, "up")
    pid = launcher.poll(ONE).pid
    launcher.start(spec(ONE, tmp_path, *SLEEP))
    LocalLauncher(tmp_path / "runs").start(spec(ONE, tmp_path, *SLEEP))
    assert launcher.poll(ONE).pid == pid
    assert launcher.logs(ONE, 4096) == "up\n"


def test_a_supervisor_carries_no_more_of_python_than_it_needs() -> None:
    """One runs beside every instance: what it imports is there as often as there are users."""
    code = (
        "import sys; sys.path.append(sys.argv[1]); import manager.launcher.supervisor; "
        "print(*sys.modules)"
    )
    root = str(Path(supervisor.__file__).parents[2])
    words = [sys.executable, "-I", "-S", "-c", code, root]
    loaded = set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert "manager.launcher.rotation" in loaded
    heavy = {"signal", "enum", "re", "json", "pathlib", "typing", "contextlib", "ctypes", "logging"}
    assert not loaded & heavy


def test_a_second_supervisor_of_a_launch_gives_up(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    launcher.start(spec(ONE, tmp_path, *SLEEP))
    wait_log(launcher, ONE, "up")
    second = subprocess.run(
        [sys.executable, "-I", "-S", supervisor.__file__, str(runs / ONE), "65536", "/bin/true"],
        check=False,
        capture_output=True,
    )
    assert second.returncode == supervisor.NO_LOCK
    assert launcher.poll(ONE).liveness is Liveness.ALIVE


def test_the_supervisor_is_small(launcher: LocalLauncher, runs: Path, tmp_path: Path) -> None:
    launcher.start(spec(ONE, tmp_path, *SLEEP))
    wait_log(launcher, ONE, "up")
    chief, _ = RunDir(runs / ONE).identities()
    assert chief is not None
    rollup = Path(f"/proc/{chief.pid}/smaps_rollup").read_text().splitlines()
    pss_kib = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    assert pss_kib < 10 * 1024


def test_a_fresh_launcher_goes_on_with_the_launches_of_a_killed_manager(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    root = str(Path(__file__).parents[2])
    other = subprocess.run(
        [sys.executable, "-c", OTHER_MANAGER, root, str(runs), SLEEP[1], LEFT], check=False
    )
    assert other.returncode == 9
    assert launcher.list() == [LEFT]
    assert launcher.poll(LEFT).liveness is Liveness.ALIVE
    assert launcher.poll(LEFT).pid is not None
    launcher.stop(LEFT, force=False)
    assert wait_gone(launcher, LEFT).exit_code == -signal.SIGTERM
    assert launcher.list() == []


def test_a_launch_that_was_only_planned_is_gone(launcher: LocalLauncher, runs: Path) -> None:
    RunDir(runs / unique("planned")).create({})
    assert launcher.list() == []
    assert launcher.poll(unique("planned")).liveness is Liveness.GONE


def test_a_reused_pid_is_never_signalled(launcher: LocalLauncher, runs: Path) -> None:
    stranger = subprocess.Popen(["/bin/sleep", "600"])
    try:
        run = RunDir(runs / unique("old"))
        run.create({})
        now = identity.read(stranger.pid)
        assert now is not None
        for ticks, boot in ((now.start_ticks - 1, now.boot_id), (now.start_ticks, "another boot")):
            pair = [stranger.pid, ticks]
            record = {"boot_id": boot, "supervisor": pair, "child": pair}
            (run.path / "record").write_text(json.dumps(record))
            launcher.stop(unique("old"), force=True)
            assert launcher.poll(unique("old")).liveness is Liveness.GONE
            (run.path / "gone").unlink()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_reused_supervisor_pid_is_never_signalled_while_the_lock_is_held(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    launcher.start(spec(ONE, tmp_path, *SLEEP))
    wait_log(launcher, ONE, "up")
    adopter = LocalLauncher(runs)
    record = runs / ONE / "record"
    honest = record.read_text()
    stranger = subprocess.Popen(["/bin/sleep", "600"])
    try:
        now = identity.read(stranger.pid)
        assert now is not None
        pair = [stranger.pid, now.start_ticks + 1]
        record.write_text(json.dumps({"boot_id": now.boot_id, "supervisor": pair}))
        adopter.stop(ONE, force=True)
        assert stranger.poll() is None
    finally:
        record.write_text(honest)
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize(
    ("program", "cwd", "says"),
    [
        ("/nowhere/python", "", "COMFYUI_PYTHON"),
        (sys.executable, "missing", "COMFYUI_PATH"),
    ],
)
def test_a_missing_program_or_folder_refuses_with_the_settings_name(
    launcher: LocalLauncher, tmp_path: Path, program: str, cwd: str, says: str
) -> None:
    with pytest.raises(LaunchFailed, match=says):
        launcher.start(LaunchSpec(ONE, (program,), {}, tmp_path / cwd, 65536))
    assert launcher.poll(ONE).liveness is Liveness.GONE


def test_a_program_the_kernel_cannot_run_is_seen_in_exit_and_log(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF and nothing more")
    program.chmod(0o700)
    launcher.start(LaunchSpec(ONE, (str(program),), {}, tmp_path, 65536))
    assert wait_gone(launcher, ONE).exit_code == supervisor.NO_EXEC
    assert "Exec format error" in launcher.logs(ONE, 4096)
    assert "Exec format error" in (tmp_path / "runs" / ONE / "exit").read_text()


def test_a_runs_folder_that_cannot_be_made_refuses(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(LaunchFailed, match="runs"):
        LocalLauncher(tmp_path / "runs").start(spec(ONE, tmp_path, *SLEEP))


def test_a_full_disk_refuses_the_start_and_gives_the_claim_back(
    launcher: LocalLauncher, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("manager.launcher.run_dir.os.fsync", full)
        with pytest.raises(LaunchFailed, match="free some space"):
            launcher.start(spec(ONE, tmp_path, *SLEEP))
    assert list(runs.iterdir()) == []
    launcher.start(spec(ONE, tmp_path, *SLEEP))
    assert launcher.poll(ONE).liveness is Liveness.ALIVE


def test_no_record_no_start(launcher: LocalLauncher, runs: Path, tmp_path: Path) -> None:
    # A folder in the way of the record's temporary file: the write fails as on a full disk.
    run = RunDir(runs / ONE)
    run.create({})
    (run.path / "record.part").mkdir()
    (run.path / "log").touch()
    ended = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            supervisor.__file__,
            str(run.path),
            "65536",
            sys.executable,
            "-c",
            f"open({str(tmp_path / 'ran')!r}, 'w')",
        ],
        check=False,
        capture_output=True,
    )
    assert ended.returncode == supervisor.NO_RECORD
    assert not (tmp_path / "ran").exists()
    assert b"nothing was started" in ended.stderr


def test_no_start_when_the_childs_identity_cannot_be_recorded(runs: Path, tmp_path: Path) -> None:
    run = RunDir(runs / ONE)
    run.create({})
    (run.path / "log").touch()
    root = str(Path(__file__).parents[2])
    ran = tmp_path / "ran"
    ended = subprocess.run(
        [sys.executable, "-c", FULL_AT_THE_SECOND_RECORD, root, str(run.path), f"touch {ran}"],
        check=False,
        capture_output=True,
    )
    assert ended.returncode == supervisor.NO_RECORD
    assert not ran.exists()


def test_a_tree_is_ended_even_when_its_end_cannot_be_recorded(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    launcher.start(spec(ONE, tmp_path, "-c", FORK_AND_WAIT))
    wait_log(launcher, ONE, "up")
    for name in ("exit.part", "gone.part"):
        (runs / ONE / name).mkdir()
    launcher.stop(ONE, force=True)
    assert wait_gone(launcher, ONE).exit_code is None
    assert with_marker(ONE) == []
    assert "cannot record the end" in launcher.logs(ONE, 4096)


def test_a_launch_counts_while_only_a_marked_child_of_it_is_left(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    launcher.start(spec(ONE, tmp_path, "-c", FORK_AND_WAIT))
    wait_log(launcher, ONE, "up")
    chief, main = RunDir(runs / ONE).identities()
    assert chief is not None
    assert main is not None
    for who in (chief, main):
        assert identity.send(who, signal.SIGKILL)
    wait_until(lambda: not identity.alive(chief) and not identity.alive(main), what="killed")
    assert launcher.list() == [ONE]
    assert launcher.poll(ONE).liveness is Liveness.ALIVE


def test_two_who_look_do_not_take_each_other_for_a_supervisor(runs: Path) -> None:
    run = RunDir(runs / ONE)
    run.create({})
    with (run.path / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert run.locked() is False
        fcntl.flock(other, fcntl.LOCK_EX)
        assert run.locked() is True


def test_a_supervisor_waits_out_a_glance_at_its_lock(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    run = RunDir(runs / ONE)
    run.create({})
    (run.path / "log").touch()
    command = [sys.executable, "-I", "-S", supervisor.__file__, str(run.path), "65536"]
    with (run.path / "lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        started = subprocess.Popen([*command, sys.executable, "-c", ""])
        # Once it waits for the lock it is a subreaper that has not written its record.
        wait_until(lambda: b"supervisor" in Path(f"/proc/{started.pid}/cmdline").read_bytes())
        assert not (run.path / "record").exists()
    assert started.wait(timeout=20) == 0
    assert run.exit_code() == 0


def test_it_works_the_same_under_eventlet(runs: Path) -> None:
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", UNDER_EVENTLET, root, str(runs), str(free_port()), ONE, LISTEN],
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "True -15\n"


def test_a_flooding_instance_keeps_the_log_small_and_its_end_readable(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    limit = 65_536
    code = (
        "import sys, time\n"
        "for n in range(60000): sys.stdout.write(f'line {n} ' + 'x' * 80 + '\\n')\n"
        "print('the end', flush=True); time.sleep(600)"
    )
    launcher.start(spec(ONE, tmp_path, "-c", code, log_max_bytes=limit))
    wait_log(launcher, ONE, "the end")
    folder = runs / ONE
    wait_until(lambda: (folder / "log.1").exists(), what="rotation")
    wait_until(lambda: (folder / "log").stat().st_size < limit, what="truncation")
    assert (folder / "log.1").stat().st_size <= limit
    # O_APPEND: no hole at the start of the emptied file.
    assert b"\0" not in (folder / "log").read_bytes()
    assert "the end" in launcher.logs(ONE, limit)
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_is_ours_only_when_the_launch_listens_on_it(
    launcher: LocalLauncher, tmp_path: Path, address: str
) -> None:
    port, other = free_port(), free_port()
    here = Address("127.0.0.1", port)
    assert launcher.answers_itself(ONE) is None
    assert launcher.taken(here) is False
    launcher.start(spec(TWO, tmp_path, *SLEEP, port=port))
    wait_log(launcher, TWO, "up")
    assert launcher.answers_itself(TWO) is None
    launcher.start(spec(ONE, tmp_path, "-c", LISTEN, str(port), address, port=port))
    wait_log(launcher, ONE, "listening")
    assert launcher.taken(here) is True
    assert launcher.taken(Address("127.0.0.1", other)) is False
    assert launcher.taken(Address("192.0.2.1", port)) is None
    assert launcher.answers_itself(ONE) is True
    assert LocalLauncher(tmp_path / "runs").answers_itself(ONE) is True
    assert launcher.answers_itself(TWO) is False


def test_a_launch_is_not_begun_on_a_port_that_somebody_has(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(LaunchFailed, match=f"port {port} is taken") as refused:
            launcher.start(spec(ONE, tmp_path, *SLEEP, port=port))
        assert refused.value.reason == "port_taken"
    # Nothing is claimed: once the port is free the same launch begins.
    assert not (runs / ONE).exists()
    launcher.start(spec(ONE, tmp_path, *SLEEP, port=port))
    assert launcher.poll(ONE).liveness is Liveness.ALIVE
    with socket.create_server(("127.0.0.1", port)):
        launcher.start(spec(ONE, tmp_path, *SLEEP, port=port))
    assert launcher.poll(ONE).liveness is Liveness.ALIVE


def test_who_loses_the_race_for_a_claim_begins_nothing(
    launcher: LocalLauncher, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (runs / ONE).mkdir(parents=True)
    # Between the look and the claim.
    monkeypatch.setattr(Path, "exists", lambda path: False)
    launcher.start(spec(ONE, tmp_path, *SLEEP))
    monkeypatch.undo()
    assert list((runs / ONE).iterdir()) == []
    assert launcher.poll(ONE).liveness is Liveness.GONE


def test_the_port_that_an_earlier_version_noted_for_people_is_known(
    launcher: LocalLauncher, runs: Path
) -> None:
    launcher.start(spec(ONE, runs.parent, *SLEEP, port=8123))
    meta = json.loads((runs / ONE / "meta").read_text())
    del meta["port"]
    for labels, known in (({"port": "8124"}, Address("127.0.0.1", 8124)), ({}, None)):
        (runs / ONE / "meta").write_text(json.dumps({**meta, "labels": labels}))
        assert launcher.address(ONE) == known


def test_a_port_held_by_a_descendant_is_ours(launcher: LocalLauncher, tmp_path: Path) -> None:
    port = free_port()
    code = (
        "import subprocess, sys; "
        f"subprocess.run([sys.executable, '-c', {LISTEN!r}, '{port}', '127.0.0.1'], "
        "start_new_session=True, env={})"
    )
    launcher.start(spec(ONE, tmp_path, "-c", code, port=port))
    wait_log(launcher, ONE, "listening")
    assert launcher.answers_itself(ONE) is True


def test_a_stranger_beside_us_on_the_port_makes_it_not_ours(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    port = free_port()
    command = [sys.executable, "-c", LISTEN, str(port), "127.0.0.1"]
    launcher.start(spec(ONE, tmp_path, *command[1:], port=port))
    wait_log(launcher, ONE, "listening")
    assert launcher.answers_itself(ONE) is True
    stranger = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        assert launcher.answers_itself(ONE) is False
    finally:
        stranger.kill()
        stranger.communicate()


def test_prune_removes_old_ends_and_no_living_launch(
    launcher: LocalLauncher, runs: Path, tmp_path: Path
) -> None:
    launcher.start(spec(LIVING, tmp_path, *SLEEP))
    for number in range(4):
        launcher.start(spec(unique(f"run{number}"), tmp_path, "-c", ""))
        wait_gone(launcher, unique(f"run{number}"))
        os.utime(runs / unique(f"run{number}") / "gone", (number, number))
    assert launcher.prune(2) == 2
    assert sorted(path.name for path in runs.iterdir()) == sorted(
        [LIVING, unique("run2"), unique("run3")]
    )
    assert launcher.poll(LIVING).liveness is Liveness.ALIVE


def test_names_that_are_no_launch_ids_touch_nothing(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    for name in ("../one", "", "a/b", ".", "x" * 65, "a\n"):
        with pytest.raises(ValueError, match="launch id"):
            launcher.start(spec(name, tmp_path, *SLEEP))
