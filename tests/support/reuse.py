"""Gives a recorded process's number to a stranger; the first program of a pid namespace of its own.

    unshare --pid --fork --mount-proc python -m tests.support.reuse FOLDER WHOSE

WHOSE is ``main`` or ``supervisor``. Prints one JSON object: what was seen of the launch and of the
stranger. As that namespace's init it also collects every orphan.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from manager import identity
from manager.identity import Identity
from manager.launcher import trees
from manager.launcher.local import LocalLauncher
from manager.launcher.processes import all_stats, descendants
from manager.launcher.run_dir import RunDir
from tests.support.launcher import spec, wait_log
from tests.support.waiting import wait_until

LAUNCH = "reused"
WAITS = ("-c", "print('ready', flush=True); import time; time.sleep(600)")


def collected(pid: int) -> bool:
    """Tell whether an orphan's number is free again; orphans are ours to collect."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return not Path(f"/proc/{pid}").exists()


def start_ticks_now() -> int:
    """Read the clock that start times are told in."""
    child = subprocess.Popen([sys.executable, "-I", "-S", "-c", "pass"])
    who = identity.read(child.pid)
    child.wait()
    return who.start_ticks if who else 0


def stranger_as(pid: int) -> tuple[subprocess.Popen[bytes], list[Identity]]:
    """Start a process of no launch under a number, and a child of it; ns_last_pid, proc(5)."""
    code = "import os, time; os.fork() or print('up', flush=True); time.sleep(600)"
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    stranger = subprocess.Popen([sys.executable, "-c", code], env={}, stdout=subprocess.PIPE)
    assert stranger.pid == pid, (stranger.pid, pid)
    assert stranger.stdout is not None
    stranger.stdout.readline()
    below = descendants(all_stats(), [pid])
    who = identity.read(pid)
    assert who is not None
    assert len(below) == 1
    return stranger, [who, *below]


def main(folder: Path, whose: str) -> dict[str, object]:
    """Play it through."""
    launcher = LocalLauncher(folder / "runs")
    launcher.start(spec(LAUNCH, folder, *WAITS))
    wait_log(launcher, LAUNCH, "ready")
    run = RunDir(folder / "runs" / LAUNCH)
    chief, child = run.identities()
    assert chief is not None
    assert child is not None
    assert identity.send(chief, signal.SIGKILL)
    # Collected by who started it.
    wait_until(lambda: not launcher.poll(LAUNCH).supervised, what="supervisor gone")
    if whose == "main":
        assert identity.send(child, signal.SIGKILL)
        wait_until(lambda: collected(child.pid), what="number free")
    # Another start time for certain: the clock that it is told in has steps of 10 ms.
    wait_until(lambda: start_ticks_now() > child.start_ticks, what="a tick")
    stranger, strangers = stranger_as(child.pid if whose == "main" else chief.pid)
    # A launcher that knows of it by its record alone, as after the manager's restart.
    later = LocalLauncher(folder / "runs")
    seen = {
        "alive": [identity.alive(chief), identity.alive(child)],
        "listed": later.list(),
        "polled": later.poll(LAUNCH).pid == child.pid if whose == "supervisor" else None,
    }
    for each in (later, launcher):
        each.stop(LAUNCH, force=False)
        each.stop(LAUNCH, force=True)
        trees.end_stuck(run, LAUNCH, range(0), chief)
    wait_until(lambda: whose == "main" or collected(child.pid), what="the launch ended")
    seen["end"] = later.poll(LAUNCH).liveness.value
    seen["strangers_hit"] = sum(not identity.alive(one) for one in strangers)
    for one in strangers:
        identity.send(one, signal.SIGKILL)
    stranger.communicate()
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), sys.argv[2])) + "\n")
