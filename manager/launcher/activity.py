"""What a process tree has done so far: processor time, bytes moved, waits for a device.

Two of these, some seconds apart, tell one that is at work from one that does nothing: a ComfyUI
that loads a model or runs one long node answers nobody for minutes and is well. Walks /proc: call
through ``runtime.offload``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from manager.identity import alive
from manager.launcher.layers import Layers
from manager.launcher.processes import PROC, all_stats, descendants, survivors
from manager.launcher.run_dir import RunDir

_WAITS_FOR_DEVICE = "D"
"""Uninterruptible sleep in /proc/PID/task/TID/stat, proc_pid_stat(5): a disk, a share, a card."""


@dataclass(frozen=True)
class Activity:
    """Sums over a tree: seconds of processor time, bytes read and written, and who was met.

    ``waiting`` tells that some thread waits for a disk, a network share or a card's driver.
    """

    cpu_seconds: float
    moved_bytes: int
    waiting: bool
    pids: frozenset[int]


def quiet(before: Activity, after: Activity, seconds: float) -> bool:
    """Tell that a tree did nothing in between: under 1 % of one core, nothing moved, no waiting.

    A tree whose processes changed was at work.
    """
    still = before.pids == after.pids and not (before.waiting or after.waiting)
    used = after.cpu_seconds - before.cpu_seconds
    return still and used < 0.01 * seconds and after.moved_bytes == before.moved_bytes


def of_launch(run: RunDir, launch_id: str) -> Activity:
    """Measure a launch: all below its supervisor, which itself is not counted.

    Raises:
        OSError: /proc cannot be listed.
    """
    chief, main = run.identities()
    if chief is not None and alive(chief):
        return measure(one.pid for one in descendants(all_stats(), [chief.pid]))
    return measure(one.pid for one in survivors(launch_id, main, Layers(run.groups())))


def measure(pids: Iterable[int]) -> Activity:
    """Add up what these processes have done; those that have ended meanwhile count nothing."""
    cpu, moved, waiting, met = 0.0, 0, False, set()
    tick = os.sysconf("SC_CLK_TCK")
    for pid in pids:
        folder = PROC / str(pid)
        words = _words(folder / "stat")
        if not words:
            continue
        met.add(pid)
        # utime and stime, fields 14 and 15; the words begin behind the name, with field 3.
        cpu += (int(words[11]) + int(words[12])) / tick
        moved += _moved(folder)
        waiting = waiting or _waits(folder / "task")
    return Activity(cpu, moved, waiting, frozenset(met))


def _words(stat: Path) -> list[str]:
    try:
        return stat.read_bytes().rpartition(b")")[2].decode("ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _moved(folder: Path) -> int:
    """Read ``rchar`` and ``wchar`` of /proc/PID/io; nothing where another account's."""
    try:
        lines = (folder / "io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    values = dict(line.split(": ", 1) for line in lines)
    return int(values.get("rchar", 0)) + int(values.get("wchar", 0))


def _waits(tasks: Path) -> bool:
    try:
        threads = list(tasks.iterdir())
    except OSError:
        return False
    return any(_words(thread / "stat")[:1] == [_WAITS_FOR_DEVICE] for thread in threads)
