"""Control groups: the kernel's own list of what belongs to a launch.

A launch has a group named after it in each hierarchy that can be used (see ``groups``), and its
main process joins before it runs: no fork, session or changed name leads out. Facts are from the
kernel's admin-guide, cgroup-v2 and cgroup-v1 (freezer, pids).

Call through ``runtime.offload``; nothing here sleeps, logs or locks.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from manager import identity

PREFIX = "comfyui-"
"""What a launch's groups are called, before its id."""

ROOT = Path("/sys/fs/cgroup")
"""Where systems mount the hierarchies; nothing elsewhere is taken for a group."""

PROCS = "cgroup.procs"
KILL = "cgroup.kill"
MOST_ROUNDS = 20
MOST_LOOKS = 200
"""Looks at a freezer on its way; a process that waits for a device holds it up for longer."""


def of_launch(launch_id: str, noted: object) -> tuple[Path, ...]:
    """Read back what was noted of a launch's groups; what cannot be one of them is left out."""
    paths = [Path(word) for word in noted if isinstance(word, str)] if type(noted) is list else []
    return tuple(
        path
        for path in paths
        if path.name == PREFIX + launch_id and path.is_relative_to(ROOT) and ".." not in path.parts
    )


def members(paths: Iterable[Path]) -> list[int]:
    """List who lives in the groups and in those below them; nothing where a group is gone."""
    found = {pid for path in paths for pid in _listed(path)}
    return sorted(pid for pid in found if identity.read(pid) is not None)


def end(paths: Iterable[Path]) -> None:
    """Kill all in the groups, by the surest way that each offers; bounded, whatever they do.

    Who waits for a device in a way that nothing interrupts is a member still, and ends by itself
    when the device answers.
    """
    paths = [path for path in paths if path.is_dir()]
    for _ in range(MOST_ROUNDS):
        if not members(paths):
            return
        for path in paths:
            _end_one(path)


def remove(paths: Iterable[Path]) -> None:
    """Remove groups whose members have ended, those below them first; others stay."""
    for path in paths:
        for folder in reversed(_tree(path)):
            with contextlib.suppress(OSError):
                folder.rmdir()


def write(paths: Iterable[Path], name: str, value: object) -> bool:
    """Write a file of those groups that have it; false where none took the value."""
    done = False
    for path in paths:
        # Opened without creating: a group that is gone must stay gone.
        with contextlib.suppress(OSError), (path / name).open("r+b", buffering=0) as file:
            file.write(str(value).encode())
            done = True
    return done


def _end_one(path: Path) -> None:
    # All at once, forks under way included.
    if write([path], KILL, 1):
        return
    for name, freeze, thaw, frozen in _FREEZERS:
        if not (path / name).exists():
            continue
        try:
            write([path], name, freeze)
            any(frozen(path) for _ in range(MOST_LOOKS))
            _kill(path)
        finally:
            # Frozen by version 1, they meet their end only now.
            write([path], name, thaw)
        return
    # Where processes are counted, nobody forks faster than he is found.
    write(_tree(path), "pids.max", 0)
    _kill(path)


def _kill(path: Path) -> None:
    """Kill whom the group lists; a number that was given away meanwhile reaches nobody."""
    pinned: dict[int, int | None] = {}
    try:
        for pid in _listed(path):
            pinned[pid] = identity.pin(pid)
        # Listed still, now that the numbers are pinned: these very processes are meant.
        for pid in _listed(path) & pinned.keys():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                identity.send_pinned(pid, pinned[pid], signal.SIGKILL)
    finally:
        for descriptor in pinned.values():
            if descriptor is not None:
                os.close(descriptor)


def _listed(path: Path) -> set[int]:
    # A process of a namespace that cannot be seen from here is listed as 0, which kill(2) would
    # take for the manager's own process group.
    return {pid for folder in _tree(path) for pid in numbers(folder) if pid > 0}


def numbers(folder: Path) -> list[int]:
    """Read who is in this very group; nobody where it cannot be read."""
    try:
        return [int(word) for word in (folder / PROCS).read_text(encoding="ascii").split()]
    except OSError:
        return []


def _tree(path: Path) -> list[Path]:
    """List a group and those that somebody made below it, each before its own children."""
    found = [path]
    for folder in found:
        # Grows while it is walked: the next ones are looked into in their turn.
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            found += [Path(entry.path) for entry in entries if entry.is_dir()]
    return found


def _says(name: str, word: str) -> Callable[[Path], bool]:
    def says(path: Path) -> bool:
        try:
            return word in (path / name).read_text(encoding="ascii").splitlines()
        except OSError:
            return False

    return says


_FREEZERS = (
    ("cgroup.freeze", "1", "0", _says("cgroup.events", "frozen 1")),
    ("freezer.state", "FROZEN", "THAWED", _says("freezer.state", "FROZEN")),
)
"""Version 2 and version 1: the file, what stops and continues a group, and how it says so."""
