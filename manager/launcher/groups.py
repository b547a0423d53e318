"""Making the control groups of a launch, with limits for all of it, where the manager may.

What may be used is found by trial: versions say little about what a container, a service or an
account is given. Groups are made below the manager's own ones and nothing outside of them is
written, but for one case: version 2 hands limits down only from a group that no process is in, so
where systemd put the manager into a group of its own within what it delegated to it
(``DelegateSubgroup=``, systemd 254), groups are made beside that one. Facts are from the kernel's
admin-guide, cgroup-v2 and cgroup-v1 (memory, pids), and from systemd's "Control Group APIs and
Delegation". Call through ``runtime.offload``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from manager.launcher import helper
from manager.launcher.cgroups import KILL, PREFIX, PROCS, ROOT, numbers, remove, write

UNIFIED, FREEZER = "v2", "freezer"
KINDS = (UNIFIED, FREEZER, "memory", "pids")
"""Version 2, and the controllers of version 1 that are of use."""

LEAF = "manager"
"""``DelegateSubgroup=`` of the service, which its processes are in."""

_HANDED_DOWN = ("memory", "pids")
_LIMITS = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max")

_JOIN = "import signal, sys; signal.alarm(5); open(sys.argv[1], 'w').write('0')"


@dataclass(frozen=True)
class Groups:
    """Where groups are made: the manager's own group in each hierarchy that is of use."""

    parents: Mapping[str, Path] = field(default_factory=dict)
    can_limit_memory: bool = False
    can_limit_processes: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """Name the hierarchies, out of ``KINDS``; empty where none can be used."""
        return tuple(self.parents)

    def make(
        self, launch_id: str, memory_max: int | None = None, processes_max: int | None = None
    ) -> tuple[Path, ...]:
        """Make a launch's groups; those that are there already are taken.

        Args:
            launch_id: whose groups.
            memory_max: bytes, with what is swapped out where the kernel counts that.
            processes_max: processes and threads at once.

        Raises:
            OSError: a group or its limit could not be made; none of them is left.
        """
        paths = tuple(parent / f"{PREFIX}{launch_id}" for parent in self.parents.values())
        try:
            for path in paths:
                path.mkdir(exist_ok=True)
            if memory_max is not None:
                _limit_memory(paths, memory_max)
            if processes_max is not None:
                _limit_processes(paths, processes_max)
        except OSError:
            remove(paths)
            raise
        _remember(paths)
        return paths


def find() -> Groups:
    """Find out what can be used here: make a group, move a process in, remove it again."""
    parents: dict[str, Path] = {}
    memory = processes = False
    for kind, parent in _own_groups().items():
        if kind == FREEZER and UNIFIED in parents:
            # It would add nothing, and each group is one more that a start can fail at.
            continue
        if kind == UNIFIED and _may_hand_down(parent):
            parent = parent.parent
        trial = parent / f"{PREFIX}trial-{os.getpid()}"
        try:
            trial.mkdir()
        except OSError:
            continue
        if _joins(trial) and (kind != UNIFIED or _ends(trial)):
            parents[kind] = parent
            memory = memory or write([trial], "memory.max", "max")
            memory = memory or write([trial], "memory.limit_in_bytes", -1)
            processes = processes or write([trial], "pids.max", "max")
        remove([trial])
    return Groups(parents, memory, processes)


def _may_hand_down(own: Path) -> bool:
    """Have the group above the manager's hand limits down, if that one is the manager's too.

    Where systemd starts a service anew whose instances live on, it takes this back, and with it
    the limits that are in force. So these are put into force again.
    """
    above = own.parent
    try:
        delegated = own.name == LEAF and os.getxattr(above, "user.delegate") == b"1"
    except OSError:
        return False
    if not delegated or not os.access(above, os.W_OK) or not above.is_relative_to(ROOT):
        return False
    done = [write([above], "cgroup.subtree_control", f"+{name}") for name in _HANDED_DOWN]
    for path in above.glob(f"{PREFIX}*") if any(done) else ():
        for name in _LIMITS:
            with contextlib.suppress(OSError):
                write([path], name, os.getxattr(path, f"user.{name}").decode("ascii"))
    return any(done)


def _remember(paths: Iterable[Path]) -> None:
    """Note limits of version 2 at the group itself; where that fails nobody takes them back."""
    for path in paths:
        for name in _LIMITS:
            with contextlib.suppress(OSError):
                os.setxattr(path, f"user.{name}", (path / name).read_bytes().strip())


def _own_groups() -> dict[str, Path]:
    """Find the manager's own group in each hierarchy, as /proc and the mounts tell it."""
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    places: dict[str, str] = {}
    for line in own:
        # "4:memory:/path", "5:cpu,cpuacct:/path", and "0::/path" for version 2.
        number, names, place = line.split(":", 2)
        places |= dict.fromkeys([UNIFIED] if number == "0" else names.split(","), place)
    found: dict[str, Path] = {}
    for kind in KINDS:
        for line in mounts if kind in places else ():
            at = _mounted(line, kind, places[kind])
            if at is not None:
                found.setdefault(kind, at)
    return found


def _mounted(line: str, kind: str, place: str) -> Path | None:
    """Read one line of /proc/PID/mountinfo, proc_pid_mountinfo(5); None when it is not of use.

    In a container the mount may show only a part of the hierarchy, and the place be told from
    outside: so the group that is meant is the one that lists this very process.
    """
    before, _, after = line.partition(" - ")
    root, point = before.split()[3:5]
    file_system, _, options = after.split(" ", 2)
    if file_system != ("cgroup2" if kind == UNIFIED else "cgroup"):
        return None
    if kind != UNIFIED and kind not in options.split(","):
        return None
    mount = Path(point)
    if not mount.is_relative_to(ROOT):
        return None
    below = os.path.relpath(place, root)
    for path in (mount / below, mount) if not below.startswith("..") else (mount,):
        if os.getpid() in numbers(path):
            return path
    return None


def _joins(trial: Path) -> bool:
    """Tell whether a process may move into a group, by one that ends at once."""
    return helper.run("-c", _JOIN, str(trial / PROCS)) == 0


def _ends(trial: Path) -> bool:
    """Tell whether this version 2 can end a group: Linux 5.14, or 5.2 by freezing."""
    return (trial / KILL).exists() or (trial / "cgroup.freeze").exists()


def _limit_processes(paths: Iterable[Path], limit: int) -> None:
    if not write(paths, "pids.max", limit):
        raise OSError("no control group here can limit the number of processes")


def _limit_memory(paths: Iterable[Path], limit: int) -> None:
    paths = list(paths)
    if not (write(paths, "memory.max", limit) or write(paths, "memory.limit_in_bytes", limit)):
        raise OSError("no control group here can limit memory")
    # Swap would only make it slow instead of ended. Version 1 counts it with the memory, and is
    # asked second: this limit may not be the smaller one.
    write(paths, "memory.swap.max", 0)
    write(paths, "memory.memsw.limit_in_bytes", limit)
    # All of an instance or nothing: half of one answers nobody.
    write(paths, "memory.oom.group", 1)
