"""Whether the kernel killed something for want of memory, by its own counters.

The counter of the instance's memory group, read while it lives and again when it is gone: cgroup
v2 ``memory.events`` (field ``oom_kill``; it counts what is below the group too), cgroup v1
``memory.oom_control`` (the same field, since Linux 4.13), else the whole machine's ``oom_kill`` in
``/proc/vmstat`` (kernel documentation, cgroup-v2.rst, cgroup-v1/memory.rst). One short read a look;
nothing of it blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from manager.launcher.processes import PROC

_VMSTAT = PROC / "vmstat"
_FIELD = "oom_kill"
_GROUPS = Path("/sys/fs/cgroup")

LOOK_GAP_S = 1.0
"""Least time between two readings kept."""

ENOUGH = 2
"""The nearest counter may go with its group; the next one is there then."""


def count_kills(text: str) -> int | None:
    """Read the counter out of any of the three files' text."""
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == _FIELD and value.strip().isdigit():
            return int(value)
    return None


def counters(membership: str, groups: Path = _GROUPS) -> list[Path]:
    """Name the files to ask for a process, nearest first.

    Args:
        membership: the text of its ``/proc/PID/cgroup``, lines ``ID:CONTROLLERS:PATH``.
        groups: where the control groups are mounted.
    """
    found: list[Path] = []
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        relative = path.lstrip("/")
        if "memory" in controllers.split(","):
            found.append(groups / "memory" / relative / "memory.oom_control")
        elif not controllers and relative:
            group = groups / relative
            # The group may be removed with its last process; its parent counts it too.
            found += [group / "memory.events", group.parent / "memory.events"]
    return [*found, _VMSTAT]


def read_kills(path: Path) -> int | None:
    """Read one counter; None where it cannot be read or is not kept."""
    try:
        return count_kills(path.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        return None


@dataclass
class _Seen:
    pid: int
    files: list[Path]
    at: float
    before: dict[Path, int] = field(default_factory=dict)
    last: dict[Path, int] = field(default_factory=dict)


class Memory:
    """The counters of the launches that live.

    What is compared with is the reading *before* the last one: the kernel counts a moment before
    the end of the process is seen, so the last one may hold the kill already.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._seen: dict[str, _Seen] = {}

    def look(self, launch_id: str, pid: int, now: float) -> None:
        """Read the counters of a living launch, at most once a second (monotonic ``now``)."""
        seen = self._seen.get(launch_id)
        if seen is not None and seen.pid == pid and now - seen.at < LOOK_GAP_S:
            return
        if seen is None or seen.pid != pid:
            try:
                membership = (PROC / str(pid) / "cgroup").read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                return
            seen = self._seen[launch_id] = _Seen(pid, counters(membership), now)
            seen.last = _read_all(seen.files)
        seen.at, seen.before = now, seen.last
        seen.last = _read_all(seen.files)

    def killed(self, launch_id: str) -> bool:
        """Tell whether the nearest counter that still can be read has grown."""
        seen = self._seen.get(launch_id)
        if seen is None:
            return False
        for path in seen.files:
            kills = read_kills(path)
            if kills is not None and path in seen.before:
                return kills > seen.before[path]
        return False

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch that has ended."""
        self._seen.pop(launch_id, None)


def _read_all(files: list[Path]) -> dict[Path, int]:
    readings: dict[Path, int] = {}
    for path in files:
        kills = read_kills(path)
        if kills is not None:
            readings[path] = kills
        if len(readings) == ENOUGH:
            break
    return readings
