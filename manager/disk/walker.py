"""Adds up what a user's folders take on the disk; a program of its own, run by path.

    python -I walker.py WORKSPACE

prints one JSON object: ``folders`` (bytes by name), ``complete`` and ``entries``. What a user's
code keeps may be hundreds of thousands of files, or made to trap whoever walks through it. So it is
not walked in the manager, which may be root: this process is the last to get processor and disk,
keeps of root's rights only that of looking into folders, follows no link, stays on the disk that it
began on and ends in time. It takes no user's account: what runs under one counts as his launch.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import time
from collections.abc import Callable

import psutil

if __name__ == "__main__":
    sys.path.append(__file__.rsplit("/", 3)[0])

from manager.launcher import privileges

FOLDERS = ("input", "output", "temp", "user", "home")
SECONDS = 240.0
DEPTH = 64
"""Folders within folders that are looked into; each takes two file descriptors."""

LINKS = 200_000
"""Files with several names that are remembered, so that each counts once."""

MAY_LOOK = (2, 1)
"""CAP_DAC_READ_SEARCH; CAP_DAC_OVERRIDE, which containers may have instead (capabilities(7))."""

NOBODY = 65534

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Walk:
    """One walk; ``complete`` until something had to be left out."""

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Say how long it may take."""
        self._monotonic = monotonic
        self._until = monotonic() + seconds
        self._seen: set[tuple[int, int]] = set()
        self.entries = 0
        self.over = False
        self.complete = True

    def add_up(self, folder: int) -> int:
        """Give the bytes that an open folder and all in it take."""
        own = os.fstat(folder)
        return own.st_blocks * 512 + self._below(folder, own.st_dev, 1)

    def _below(self, folder: int, disk: int, depth: int) -> int:
        total = 0
        with os.scandir(folder) as entries:
            for entry in entries:
                self.entries += 1
                if not self._in_time():
                    break
                try:
                    total += self._of_entry(folder, entry, disk, depth)
                except PermissionError:
                    self.complete = False
                except OSError:
                    # Removed or moved while we count: an instance may be at work in there.
                    continue
        return total

    def _of_entry(self, folder: int, entry: os.DirEntry[str], disk: int, depth: int) -> int:
        found = entry.stat(follow_symlinks=False)
        if found.st_dev != disk or self._counted(found):
            return 0
        total = found.st_blocks * 512  # in units of 512 bytes, stat(2)
        if not stat.S_ISDIR(found.st_mode):
            return total
        if depth >= DEPTH:
            self.complete = False
            return total
        below = os.open(entry.name, _FOLDER, dir_fd=folder)
        try:
            return total + self._below(below, disk, depth + 1)
        finally:
            os.close(below)

    def _counted(self, found: os.stat_result) -> bool:
        if found.st_nlink < 2 or stat.S_ISDIR(found.st_mode):
            return False
        name = (found.st_dev, found.st_ino)
        if name in self._seen:
            return True
        if len(self._seen) < LINKS:
            self._seen.add(name)
        return False

    def _in_time(self) -> bool:
        if self.entries % 256 == 0 and self._monotonic() >= self._until:
            self.over, self.complete = True, False
        return not self.over


def stand_back() -> None:
    """Be the last to get processor and disk."""
    os.nice(19)
    with contextlib.suppress(OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)


def give_up_all_but_looking() -> None:
    """As root, become nobody who may look into every folder; else stay who one is.

    Raises:
        OSError: the kernel refused.
    """
    keep = None
    if os.geteuid() == 0:
        has = int(privileges.status()["CapEff"], 16)
        keep = next((one for one in MAY_LOOK if has >> one & 1), None)
        if keep is not None and privileges.lock_capabilities():
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
    privileges.clear_capabilities(keep)
    privileges.gain_nothing_new()


def opened(workspace: str) -> dict[str, int]:
    """Open those of a workspace's folders that are there, by name."""
    top = os.open(workspace, _FOLDER)
    found = {}
    for name in FOLDERS:
        with contextlib.suppress(OSError):
            found[name] = os.open(name, _FOLDER, dir_fd=top)
    os.close(top)
    return found


def main(workspace: str) -> None:
    """Walk and print."""
    stand_back()
    folders = opened(workspace)
    give_up_all_but_looking()
    walk = Walk(SECONDS)
    sizes = {name: walk.add_up(folder) for name, folder in folders.items()}
    told = {"folders": sizes, "complete": walk.complete, "entries": walk.entries}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
