"""Launches for tests, and the proof that nothing of them is left."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from manager import identity
from manager.identity import Identity, boot_id
from manager.launcher.local import LocalLauncher
from manager.launcher.processes import MARKER, all_stats, marked
from manager.launcher.protocol import LaunchSpec, Liveness, ProcessReport
from tests.support.waiting import wait_until


def unique(name: str) -> str:
    """Make a launch id of this test run's own: markers are looked for on the whole machine."""
    return f"{name}-{os.getpid()}"


ONE = unique("one")
TWO = unique("two")
TORTURE = Path(__file__).with_name("torture.py")


def spec(
    launch_id: str, cwd: Path, *argv: str, log_max_bytes: int = 1 << 20, port: int = 0
) -> LaunchSpec:
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    return LaunchSpec(launch_id, (sys.executable, *argv), env, cwd, log_max_bytes, port=port)


def noted(pid_file: Path) -> list[Identity]:
    """Give every process that wrote itself into the file, living or not."""
    if not pid_file.exists():
        return []
    lines = [line.split() for line in pid_file.read_text().splitlines()]
    return [Identity(int(pid), int(ticks), boot_id()) for pid, ticks in lines]


def alive(pid_file: Path) -> list[int]:
    return [one.pid for one in noted(pid_file) if identity.alive(one)]


def with_marker(launch_id: str) -> list[int]:
    return [one.pid for one in marked(all_stats()).get(launch_id, [])]


def wait_gone(launcher: LocalLauncher, launch_id: str) -> ProcessReport:
    wait_until(lambda: launcher.poll(launch_id).liveness is Liveness.GONE, what="launch gone")
    return launcher.poll(launch_id)


def wait_log(launcher: LocalLauncher, launch_id: str, text: str) -> None:
    wait_until(lambda: text in launcher.logs(launch_id, 1 << 16), what=f"{text!r} in the log")


@contextmanager
def launching(runs_dir: Path) -> Iterator[LocalLauncher]:
    """Lend a launcher; end all its launches afterwards and prove that they are gone."""
    launcher = LocalLauncher(runs_dir)
    try:
        yield launcher
    finally:
        names = launcher.list()
        for name in names:
            wait_until(_ended(launcher, name), what=f"{name} ended")
        # Reaped too, those that were gone before: a supervisor is this process's child.
        for path in runs_dir.iterdir() if runs_dir.exists() else ():
            wait_gone(launcher, path.name)
            assert with_marker(path.name) == []


def _ended(launcher: LocalLauncher, name: str) -> Callable[[], bool]:
    def once() -> bool:
        launcher.stop(name, force=True)
        return launcher.poll(name).liveness is Liveness.GONE

    return once


__all__ = [
    "MARKER",
    "ONE",
    "TORTURE",
    "TWO",
    "alive",
    "launching",
    "noted",
    "spec",
    "unique",
    "wait_gone",
    "wait_log",
]
