"""Launches on other nodes: begun once, ended for certain, unknown where nobody can tell."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from manager.launcher import landlock
from manager.launcher.confine import NOT_CONFINED
from manager.launcher.far import claims
from manager.launcher.far.launcher import FarLauncher
from manager.launcher.groups import Groups
from manager.launcher.isolation import SANDBOX, USER, Isolation
from manager.launcher.protocol import LaunchSpec, Liveness, ProcessReport
from tests.support.confined import OWN_ACCOUNT, python_for_all
from tests.support.far import NODES, Cluster, cluster, left
from tests.support.launcher import TORTURE, alive, spec, unique, with_marker
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

ONE = unique("far-one")
SLEEP = ("-c", "import time; print('up', flush=True); time.sleep(600)")
BASE, PYTHON = OWN_ACCOUNT - 100, python_for_all()
DEAF = (
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True);"
    "time.sleep(600)",
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "far") as lent:
        yield lent


def one(*argv: str, name: str = ONE) -> LaunchSpec:
    plain = spec(name, Path("/"), *(argv or SLEEP))
    return LaunchSpec(**{**vars(plain), "secret": secrets.token_hex(16)})


def until(launcher: FarLauncher, wanted: Liveness, name: str = ONE) -> ProcessReport:
    wait_until(
        lambda: launcher.poll(name).liveness is wanted,
        40,
        f"{wanted}; {launcher.poll(name)}; {launcher.logs(name, 2000)}",
    )
    return launcher.poll(name)


def up(house: Cluster, launcher: FarLauncher) -> int:
    """Wait until the program itself runs, and give its process number."""
    until(launcher, Liveness.ALIVE)
    wait_until(lambda: "up" in launcher.logs(ONE, 100), what="the program runs")
    return house.main(ONE)


def test_a_life_on_a_node(house: Cluster) -> None:
    launcher = house.launcher()
    assert launcher.poll(ONE).liveness is Liveness.GONE
    launcher.start(one())
    until(launcher, Liveness.ALIVE)
    launcher.start(one())
    house.launcher().start(one())
    assert len(house.engine.ever) == 1
    assert launcher.list() == [ONE]
    wait_until(lambda: (seen := launcher.activity(ONE)) and seen.pids, what="activity")
    launcher.stop(ONE, force=False)
    assert until(launcher, Liveness.GONE).exit_code == -signal.SIGTERM
    assert launcher.holders(ONE, Path("/dev/null")) == []
    assert launcher.list() == []
    wait_until(lambda: not with_marker(ONE), what="nothing is left")
    assert launcher.prune(0) == 1
    assert not (house.runs_dir / ONE).exists()


def test_nothing_secret_is_told_to_the_engine(house: Cluster) -> None:
    launcher, what = house.launcher(), one()
    launcher.start(what)
    assert what.secret
    house.main(ONE)
    said = repr(house.engine.taken[ONE])
    for pid in left(house.data_dir):
        with contextlib.suppress(psutil.Error):
            said += repr((psutil.Process(pid).cmdline(), psutil.Process(pid).environ()))
    assert str(house.runs_dir) in said
    assert what.secret not in said
    files = {path.name: path for path in (house.runs_dir / ONE).iterdir()}
    assert files["tls"].stat().st_mode & 0o777 == 0o600
    assert files["secret"].stat().st_mode & 0o777 == 0o600
    launcher.stop(ONE, force=True)
    until(launcher, Liveness.GONE)


def test_whoever_ignores_a_polite_end_is_killed(house: Cluster) -> None:
    launcher = house.launcher()
    launcher.start(one(*DEAF))
    up(house, launcher)
    launcher.stop(ONE, force=False)
    wait_until(lambda: (house.runs_dir / ONE / "order").exists(), what="an order")
    until(launcher, Liveness.ALIVE)
    launcher.stop(ONE, force=True)
    until(launcher, Liveness.GONE)
    wait_until(lambda: not with_marker(ONE), what="nothing is left")


def test_an_engine_that_is_silent_or_forgetful_loses_and_doubles_nothing(house: Cluster) -> None:
    launcher = house.launcher()
    house.engine.loses_jobs = True
    launcher.start(one())
    assert launcher.poll(ONE).liveness is Liveness.UNKNOWN
    house.engine.dumb = True
    assert launcher.poll(ONE).liveness is Liveness.UNKNOWN
    # Another manager comes: it submits again what nobody claimed.
    later = house.launcher()
    house.engine.loses_jobs = house.engine.dumb = False
    until(later, Liveness.ALIVE)
    house.engine.lose_memory()
    until(launcher, Liveness.ALIVE)
    # Forgotten, dumb or not: the beat goes on.
    house.engine.dumb = True
    assert later.poll(ONE).liveness is Liveness.ALIVE
    house.engine.dumb = False
    later.stop(ONE, force=True)
    until(later, Liveness.GONE)
    assert len(house.engine.ever) == 1


def test_a_lost_answer_starts_nothing_twice(house: Cluster) -> None:
    house.engine.loses_answers = True
    launcher = house.launcher()
    launcher.start(one())
    until(launcher, Liveness.ALIVE)
    house.engine.loses_answers = False
    launcher.start(one())
    assert len(house.engine.ever) == 1
    # The engine runs the same job once more: it finds the claim.
    pid = house.pid(ONE)
    again = house.engine.place(ONE)
    assert again.daemon.wait(20) == 75
    assert house.pid(ONE) == pid
    launcher.stop(ONE, force=True)
    until(launcher, Liveness.GONE)


def test_what_is_called_off_in_the_queue_never_begins(house: Cluster) -> None:
    house.engine.places = False
    launcher = house.launcher()
    launcher.start(one())
    until(launcher, Liveness.QUEUED)
    house.engine.dumb = True
    launcher.stop(ONE, force=False)
    assert launcher.poll(ONE).liveness is Liveness.GONE
    # The engine runs it all the same.
    assert house.engine.place(ONE).daemon.wait(20) == 75
    assert launcher.poll(ONE).liveness is Liveness.GONE
    assert house.launcher().poll(ONE).liveness is Liveness.GONE


def test_a_job_that_ended_before_it_began_never_begins_later(house: Cluster) -> None:
    house.engine.places = False
    launcher = house.launcher()
    launcher.start(one())
    until(launcher, Liveness.QUEUED)
    # By somebody at the engine.
    house.engine.cancel(ONE, force=True)
    until(launcher, Liveness.GONE)
    assert "cancelled" in launcher.logs(ONE, 1000)
    assert house.engine.place(ONE).daemon.wait(20) == 75
    assert launcher.poll(ONE).liveness is Liveness.GONE


def test_the_same_look_at_a_tree_is_not_told_twice(house: Cluster) -> None:
    """Two of them would say that it does nothing, and it would be ended for that."""
    launcher = house.launcher()
    launcher.start(one())
    up(house, launcher)
    wait_until(lambda: (seen := launcher.activity(ONE)) and seen.pids, what="activity")
    # Stopped, its program makes no new look.
    stopped = psutil.Process(house.pid(ONE))
    stopped.suspend()
    launcher.activity(ONE)
    assert launcher.activity(ONE) is None
    stopped.resume()
    wait_until(lambda: launcher.activity(ONE), what="a new look")
    launcher.stop(ONE, force=True)
    until(launcher, Liveness.GONE)


def test_what_the_engine_refuses_never_begins(house: Cluster) -> None:
    house.engine.refuses = "no such partition"
    launcher = house.launcher()
    with pytest.raises(Exception, match="no such partition"):
        launcher.start(one())
    assert launcher.poll(ONE).liveness is Liveness.GONE
    house.engine.refuses = ""
    launcher.start(one())
    assert house.engine.ever == []


def test_a_manager_that_is_killed_between_disk_and_engine(house: Cluster) -> None:
    class Killed(BaseException):
        pass

    def killed(job: object) -> None:
        raise Killed

    launcher = house.launcher()
    launcher._jobs.submit = killed  # type: ignore[method-assign]
    with pytest.raises(Killed):
        launcher.start(one())
    # And once more before all was on the disk.
    (house.runs_dir / "half").mkdir()
    assert house.launcher().poll("half").liveness is Liveness.GONE
    house.launcher().start(one(name="half"))
    later = house.launcher()
    until(later, Liveness.ALIVE)
    until(later, Liveness.ALIVE, "half")
    for name in (ONE, "half"):
        later.stop(name, force=True)
        until(later, Liveness.GONE, name)
    assert len(house.engine.ever) == 2


def test_the_program_of_a_node_is_killed(house: Cluster) -> None:
    launcher = house.launcher()
    launcher.start(one(*DEAF))
    up(house, launcher)
    os.kill(house.pid(ONE), signal.SIGKILL)
    until(launcher, Liveness.GONE)
    wait_until(lambda: not with_marker(ONE), what="nothing is left")
    # Who has its card open now it could not say any more; another program on its node can.
    assert launcher.holders(ONE, Path("/dev/null")) is None

    def told() -> bool:
        launcher.poll(ONE)
        return launcher.holders(ONE, Path("/dev/null")) == []

    wait_until(told, 40, "who has its card")


def test_the_supervisor_is_killed(house: Cluster) -> None:
    launcher = house.launcher()
    launcher.start(one(*DEAF))
    up(house, launcher)
    os.kill(house.supervisor(ONE), signal.SIGKILL)
    until(launcher, Liveness.GONE)
    wait_until(lambda: not with_marker(ONE), what="nothing is left")


def test_both_are_killed_and_the_next_on_that_node_ends_the_rest(house: Cluster) -> None:
    launcher = house.launcher()
    launcher.start(one(*DEAF))
    main = up(house, launcher)
    for pid in (house.pid(ONE), house.supervisor(ONE)):
        psutil.Process(pid).suspend()
    for pid in (house.supervisor(ONE), house.pid(ONE)):
        os.kill(pid, signal.SIGKILL)
    (running,) = house.engine.ever
    running.daemon.wait(20)
    until(launcher, Liveness.UNKNOWN)
    assert psutil.pid_exists(main)
    # It is had looked at by itself, after a while.
    until(launcher, Liveness.GONE)
    wait_until(lambda: not with_marker(ONE), what="nothing is left")


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_node_that_never_comes_back_is_given_up_by_hand_alone(
    house: Cluster, forgotten: bool
) -> None:
    launcher = house.launcher()
    launcher.start(one())
    up(house, launcher)
    wait_until(lambda: launcher.activity(ONE), what="beats that change")
    programs = [psutil.Process(pid) for pid in (house.pid(ONE), house.supervisor(ONE))]
    for program in programs:
        program.suspend()
    until(launcher, Liveness.UNKNOWN)
    (house.runs_dir / ONE / "gone").touch()
    until(launcher, Liveness.GONE)
    # Who has its card nobody can tell.
    assert launcher.holders(ONE, Path("/dev/null")) is None
    if forgotten:
        assert launcher.prune(0) == 1
    # It comes back all the same: its place is somebody else's by now.
    for program in programs:
        program.resume()
    wait_until(lambda: not with_marker(ONE), 40, "it has ended")


def test_the_engines_daemon_dies(house: Cluster) -> None:
    launcher = house.launcher()
    launcher.start(one(*DEAF))
    up(house, launcher)
    house.engine.ever[0].daemon.kill()
    wait_until(lambda: "began this with is gone" in launcher.logs(ONE, 4000), what="it is known")
    until(launcher, Liveness.GONE)
    wait_until(lambda: not with_marker(ONE), what="nothing is left")


def test_the_engine_ends_a_job_badly(house: Cluster, tmp_path: Path) -> None:
    """Only the direct child gets a signal; of all that torture makes nothing is left."""
    pids = tmp_path / "pids"
    launcher = house.launcher()
    launcher.start(one(str(TORTURE), str(pids)))
    until(launcher, Liveness.ALIVE)
    wait_until(lambda: len(alive(pids)) > 5, what="torture")
    house.engine.cancel(ONE, force=False)
    until(launcher, Liveness.GONE)
    assert alive(pids) == []


def test_a_node_refuses_in_words(house: Cluster) -> None:
    launcher = house.launcher()
    house.kind = "ascend"
    launcher.start(one())
    until(launcher, Liveness.GONE)
    assert "the engine gave it no card" in launcher.logs(ONE, 4000)
    house.engine.env["CUDA_VISIBLE_DEVICES"] = "3"
    script = "import os; print('card', os.environ['ASCEND_RT_VISIBLE_DEVICES'], flush=True)"
    launcher.start(one("-c", script, name="two"))
    until(launcher, Liveness.GONE, "two")
    assert "card 3" in launcher.logs("two", 4000)


def test_an_earlier_boot_of_the_node_is_over(house: Cluster) -> None:
    launcher = house.launcher()
    launcher.start(one())
    main = up(house, launcher)
    for pid in (house.pid(ONE), house.supervisor(ONE), main):
        os.kill(pid, signal.SIGKILL)
    path = house.runs_dir / ONE / claims.CLAIM
    path.write_text(path.read_text().replace(claims.read(path.parent)["boot_id"], "another"))
    (path.parent / "gone").unlink(missing_ok=True)
    until(launcher, Liveness.UNKNOWN)
    launcher.start(one(name="two"))
    until(launcher, Liveness.GONE)
    launcher.stop("two", force=True)
    until(launcher, Liveness.GONE, "two")


def test_storage_that_is_away_makes_nothing_gone(house: Cluster) -> None:
    launcher = house.launcher()
    launcher.start(one())
    until(launcher, Liveness.ALIVE)
    away = house.runs_dir.with_name("away")
    house.runs_dir.rename(away)
    house.runs_dir.mkdir()
    assert launcher.poll(ONE).liveness is Liveness.UNKNOWN
    assert launcher.list() is None
    house.runs_dir.rmdir()
    away.rename(house.runs_dir)
    until(launcher, Liveness.ALIVE)
    launcher.stop(ONE, force=True)
    until(launcher, Liveness.GONE)


def _confined(house: Cluster, level: str = USER) -> Isolation:
    house.data_dir.mkdir(parents=True, exist_ok=True)
    bwrap = shutil.which("bwrap") or ""
    ours = (house.data_dir,)
    return Isolation(level, landlock.abi(), True, BASE, Groups(), house.data_dir, ours, bwrap=bwrap)


@pytest.mark.parametrize("level", [USER, SANDBOX])
def test_an_account_of_its_own_on_the_node(house: Cluster, level: str) -> None:
    launcher = house.launcher(isolation=_confined(house, level), python=PYTHON)
    home = house.data_dir / "users" / "one"
    home.mkdir(parents=True)
    what = replace(
        one("-c", LOOK), argv=(PYTHON, "-c", LOOK, str(house.runs_dir)), user_id=7, writable=(home,)
    )
    launcher.start(what)
    assert until(launcher, Liveness.GONE).exit_code == 0, launcher.logs(ONE, 4000)
    said = launcher.logs(ONE, 4000)
    assert f"account {BASE + 7} {BASE + 7}" in said
    assert "no capability" in said
    assert f"secret {what.secret}" in said
    assert "tls -----BEGIN PRIVATE KEY-----" in said
    assert "run directory closed" in said


LOOK = """
import os, pathlib, sys
print("account", os.getuid(), os.getgid())
status = pathlib.Path("/proc/self/status").read_text()
print("no capability" if "CapEff:\t0000000000000000" in status else status)
print("secret", open("/proc/self/fd/3").read())
print("tls", open("/proc/self/fd/4").readline())
try:
    os.listdir(sys.argv[1])
except OSError:
    print("run directory closed")
"""


def test_what_cannot_be_confined_on_a_node_is_not_started(house: Cluster) -> None:
    launcher = house.launcher(isolation=_confined(house), python=PYTHON)
    # On that node even root may not become anybody else.
    house.engine.before = ("setpriv", "--bounding-set=-setuid,-setgid")
    launcher.start(replace(one(), argv=(PYTHON, "-c", "print('it ran')"), user_id=7))
    assert until(launcher, Liveness.GONE).exit_code == NOT_CONFINED
    said = launcher.logs(ONE, 4000)
    assert "cannot be taken" in said
    assert "it ran" not in said


def test_the_port_is_the_rows_or_any(house: Cluster) -> None:
    script = "import sys; print(sys.argv[1:], flush=True)"
    with socket.create_server((NODES["one"], 0)) as stranger:
        port = stranger.getsockname()[1]
        words = ("-c", script, "--listen", "127.0.0.1", "--port", str(port))
        launcher = house.launcher()
        launcher.start(replace(one(*words), port=port))
        until(launcher, Liveness.GONE)
        assert f"port {port} of {NODES['one']} is taken" in launcher.logs(ONE, 4000)
        assert launcher.address(ONE) is None
        house.any_port = True
        launcher.start(replace(one(*words, name="two"), port=port))
        until(launcher, Liveness.GONE, "two")
        address = launcher.address("two")
        assert address is not None
        assert (address.host, address.port != port) == (NODES["one"], True)
        assert f"'--listen', '{NODES['one']}', '--port', '{address.port}', '--tls-key" in (
            launcher.logs("two", 4000)
        )
        assert launcher.taken(replace(address, port=port)) is True
        assert launcher.taken(address) is False


def test_it_is_the_same_under_eventlet(house: Cluster) -> None:
    """The manager's own mode, in a process of its own, with the engine's jobs beside it."""
    done = subprocess.run(
        [sys.executable, "-c", GREEN, str(house.engine.folder), ONE],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["alive", "gone"], done.stderr
    wait_until(lambda: not with_marker(ONE), what="nothing is left")


GREEN = """
import sys
from manager import runtime
runtime.setup("eventlet")
import threading, time
from pathlib import Path
from manager.launcher.protocol import Liveness
from tests.integration import test_far_launcher as t
from tests.support.far import cluster
t.ONE = sys.argv[2]
with cluster(Path(sys.argv[1]) / "green") as house:
    launcher, stop = house.launcher(), threading.Event()
    loop = threading.Thread(target=launcher.run, args=(stop,))
    loop.start()
    launcher.start(t.one(name=t.ONE))
    print(t.until(launcher, Liveness.ALIVE, t.ONE).liveness.value)
    launcher.stop(t.ONE, force=False)
    print(t.until(launcher, Liveness.GONE, t.ONE).liveness.value)
    stop.set()
    loop.join()
"""
