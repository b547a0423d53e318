"""Looking through /proc: who carries a launch's marker, and who descends from whom.

Each function but ``read_stat`` walks the whole of /proc, milliseconds to tens of them: call through
``runtime.offload``. They return values and neither log nor lock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from manager.identity import Identity, alive, boot_id
from manager.launcher.layers import NONE, Layers

MARKER = "COMFYUI_MANAGER_LAUNCH"
"""Environment variable that carries the launch id into every descendant that keeps it."""

PROC = Path("/proc")
_DEAD = frozenset("ZXx")
"""A zombie holds nothing any more; in a container without an init it may stay for ever."""

_PREFIX = MARKER.encode() + b"="


@dataclass(frozen=True)
class Stat:
    """What is used of /proc/PID/stat, proc_pid_stat(5)."""

    pid: int
    state: str
    parent: int
    start_ticks: int


def read_stat(pid: int) -> Stat | None:
    """Read a process's state, parent and start; None when there is none."""
    try:
        # The name in parentheses may hold spaces and parentheses: split after the last one.
        words = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Stat(pid, words[0].decode("ascii"), int(words[1]), int(words[19]))


def all_stats() -> list[Stat]:
    """Read every living process.

    Raises:
        OSError: /proc cannot be listed.
    """
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    stats = (read_stat(pid) for pid in pids)
    return [stat for stat in stats if stat is not None and stat.state not in _DEAD]


def marked(stats: Iterable[Stat]) -> dict[str, list[Identity]]:
    """Group the processes that carry a marker by launch id.

    Only a whole entry of the environment counts, never a piece of text that happens to hold it;
    command lines are not looked at at all.
    """
    boot = boot_id()
    found: dict[str, list[Identity]] = {}
    for stat in stats:
        launch_id = launch_of(stat.pid)
        if launch_id:
            found.setdefault(launch_id, []).append(Identity(stat.pid, stat.start_ticks, boot))
    return found


def descendants(stats: Iterable[Stat], roots: Iterable[int]) -> list[Identity]:
    """List the processes below ``roots``, the roots not included."""
    boot = boot_id()
    below: dict[int, list[Stat]] = {}
    for stat in stats:
        below.setdefault(stat.parent, []).append(stat)
    found: dict[int, Identity] = {}
    pending = list(roots)
    while pending:
        for stat in below.get(pending.pop(), []):
            if stat.pid not in found:
                found[stat.pid] = Identity(stat.pid, stat.start_ticks, boot)
                pending.append(stat.pid)
    return list(found.values())


def survivors(launch_id: str, main: Identity | None, layers: Layers = NONE) -> list[Identity]:
    """Find what is left of a launch whose supervisor is dead, the main process first.

    That is: its recorded main process, who carries the marker, who is held by its ``layers``, and
    all below these. Without layers, a descendant that dropped the marker *and* lost its parents
    cannot be told from anybody else's process.

    Raises:
        OSError: /proc cannot be listed.
    """
    stats = all_stats()
    found = marked(stats).get(launch_id, [])
    if main is not None and alive(main):
        found = [main] + [one for one in found if one != main]
    found += [one for one in held(stats, layers) if one not in found]
    known = {one.pid for one in found}
    below = descendants(stats, known)
    return found + [one for one in below if one.pid not in known]


def held(stats: Iterable[Stat], layers: Layers) -> list[Identity]:
    """Find whom a launch's layers hold.

    Raises:
        OSError: /proc cannot be listed.
    """
    boot = boot_id()
    # Asked after the numbers were read, so a number that was given away meanwhile is left out.
    members = layers.members()
    return [Identity(one.pid, one.start_ticks, boot) for one in stats if one.pid in members]


def launch_of(pid: int) -> str:
    """Give the launch that a process is marked with; empty when it is not, or nobody can tell."""
    try:
        entries = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        # Ended meanwhile, or another account's: at this level of isolation not one of ours.
        return ""
    for entry in entries:
        if entry.startswith(_PREFIX):
            return entry[len(_PREFIX) :].decode("utf-8", "replace")
    return ""
