"""Finds old files of a user's, or takes them away; a program of its own, run by path.

    python -I sweeper.py WORKSPACE BEFORE NOW KEEP dry|apply

looks through ``output`` and ``temp``: files that were neither written nor renamed, copied or given
rights since BEFORE. With ``apply`` they are moved into a folder of the workspace's trash, and what
has lain there for KEEP seconds goes for good. All times are in UTC epoch seconds. Prints one JSON
object: ``files`` and ``bytes`` that are old, ``purged_files`` and ``purged_bytes`` of the trash,
``left`` (what was old and could not be moved) and ``complete``.

A user's code fills these folders, so ``walker``'s rules hold: every step is taken from an open
folder to the next and never through a link, on one disk. What is moved is the name, not what a link
there leads to; it must be a plain file with one name, of the workspace's own account. Under root
this process is shut into the workspace (chroot(2)), where no other path has a name, and gives up
all rights but that of changing folders. It takes no user's account: what runs under one counts as
his launch.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import stat
import sys
import time
from collections.abc import Iterator
from typing import Any

if __name__ == "__main__":
    sys.path.append(__file__.rsplit("/", 3)[0])

from manager.disk import walker
from manager.launcher import privileges

SWEPT = ("output", "temp")
TRASH = "trash"
DEPTH, SECONDS = walker.DEPTH, walker.SECONDS
MOST_NAMES = 200_000
"""In one folder that are looked at in one sweep; the rest has its turn another day."""

MAY_CHANGE = 1
"""CAP_DAC_OVERRIDE (capabilities(7)): to move files out of folders of other accounts."""

LONGEST_NAME = 255
"""Bytes (limits.h, NAME_MAX)."""

_BATCH = re.compile(r"old-([0-9]{1,12})", re.ASCII)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Sweep:
    """One look through a workspace whose folders are open."""

    def __init__(self, owner: int, before: float, batch: int | None) -> None:
        """Say whose files, from when, and into which open folder they go; None: nowhere."""
        self._owner, self._before, self._batch = owner, before, batch
        self._until = time.monotonic() + SECONDS
        self.told = {"files": 0, "bytes": 0, "left": 0, "purged_files": 0, "purged_bytes": 0}
        self.complete = True

    def sweep(self, name: str, folder: int) -> None:
        """Look through an open folder that people know under this name."""
        self._below(name, folder, os.fstat(folder).st_dev, 1)

    def _below(self, way: str, folder: int, disk: int, depth: int) -> None:
        # Read whole before anything is moved: a folder that changes under a listing may skip some.
        with os.scandir(folder) as entries:
            names = [entry.name for entry in itertools.islice(entries, MOST_NAMES)]
        self.complete = self.complete and len(names) < MOST_NAMES
        for name in names:
            if time.monotonic() >= self._until:
                self.complete = False
                return
            try:
                self._entry(way, folder, name, disk, depth)
            except PermissionError:
                self.complete = False
            except OSError:
                # Removed or moved meanwhile, or a link stands there by now.
                continue

    def _entry(self, way: str, folder: int, name: str, disk: int, depth: int) -> None:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if found.st_dev != disk:
            return
        if stat.S_ISDIR(found.st_mode):
            if depth >= DEPTH:
                self.complete = False
                return
            below = os.open(name, _FOLDER, dir_fd=folder)
            try:
                self._below(f"{way}%2F{name}", below, disk, depth + 1)
            finally:
                os.close(below)
        elif self._is_old(found):
            self._take(f"{way}%2F{name}", folder, name, found)

    def _is_old(self, found: os.stat_result) -> bool:
        own = stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == self._owner
        # st_ctime too: a copy that kept its time (cp -p) is not old, nor what was put here today.
        return own and max(found.st_mtime, found.st_ctime) < self._before

    def _take(self, way: str, folder: int, name: str, found: os.stat_result) -> None:
        if self._batch is not None:
            try:
                os.rename(name, kept_name(way, found), src_dir_fd=folder, dst_dir_fd=self._batch)
            except OSError:
                self.told["left"] += 1
                return
        self.told["files"] += 1
        self.told["bytes"] += found.st_blocks * 512  # in units of 512 bytes, stat(2)

    def purge(self, trash: int, before: float, *, dry: bool) -> None:
        """Take away for good what has lain in an open trash since ``before``; dry: only count."""
        for name in os.listdir(trash):
            found = _BATCH.fullmatch(name)
            if found and int(found[1]) < before:
                with contextlib.suppress(OSError), opened(name, trash) as batch:
                    self._empty(batch, dry=dry)
                if not dry:
                    # Stays where something else has been put into it.
                    with contextlib.suppress(OSError):
                        os.rmdir(name, dir_fd=trash)

    def _empty(self, batch: int, *, dry: bool) -> None:
        for name in os.listdir(batch):
            with contextlib.suppress(OSError):
                found = os.stat(name, dir_fd=batch, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    continue
                if not dry:
                    os.unlink(name, dir_fd=batch)
                self.told["purged_files"] += 1
                self.told["purged_bytes"] += found.st_blocks * 512


def kept_name(way: str, found: os.stat_result) -> str:
    """Name a file in the trash after where it lay; the inode's number keeps names apart."""
    name = f"{found.st_ino:x}-{way}"
    encoded = os.fsencode(name)
    if len(encoded) <= LONGEST_NAME:
        return name
    head = f"{found.st_ino:x}-".encode()
    # The end tells more: it has the file's own name and ending.
    tail = encoded[len(head) - LONGEST_NAME :].decode("utf-8", "ignore")
    return head.decode() + tail


@contextlib.contextmanager
def opened(name: str, above: int) -> Iterator[int]:
    """Open a folder in another one, not through a link.

    Raises:
        OSError: there is none.
    """
    found = os.open(name, _FOLDER, dir_fd=above)
    try:
        yield found
    finally:
        os.close(found)


def made(name: str, above: int, like: os.stat_result) -> int:
    """Open a folder in another one, made where there is none, owned as ``like``.

    Raises:
        OSError: it cannot be had, or something else stands there.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    found = os.open(name, _FOLDER, dir_fd=above)
    if os.geteuid() == 0:
        # Else the next start would give the whole workspace to its account once more.
        os.fchown(found, like.st_uid, like.st_gid)
    return found


def shut_in(top: int) -> None:
    """As root, be nobody who may change folders, and see no more than this one; else stay.

    Raises:
        OSError: the kernel refused.
    """
    if os.geteuid() != 0:
        privileges.clear_capabilities()
        privileges.gain_nothing_new()
        return
    # /proc has no name any more once it is shut in.
    keep = MAY_CHANGE if int(privileges.status()["CapEff"], 16) >> MAY_CHANGE & 1 else None
    locked = keep is not None and privileges.lock_capabilities()
    os.fchdir(top)
    # Where that right was taken from root (some containers), the walk itself still stays inside.
    with contextlib.suppress(PermissionError):
        os.chroot(".")
    if locked:
        os.setgroups([])
        os.setresgid(walker.NOBODY, walker.NOBODY, walker.NOBODY)
        os.setresuid(walker.NOBODY, walker.NOBODY, walker.NOBODY)
    privileges.clear_capabilities(keep)
    privileges.gain_nothing_new()


def main(workspace: str, before: float, now: float, keep: float, how: str) -> None:
    """Sweep and print."""
    walker.stand_back()
    top = os.open(workspace, _FOLDER)
    told = swept(top, before, now, keep, dry=how != "apply")
    sys.stdout.write(json.dumps(told))


def swept(top: int, before: float, now: float, keep: float, *, dry: bool) -> dict[str, Any]:
    """Sweep an open workspace; what needs root is done before anything of the user's is read."""
    trash = batch = None
    name, like = f"old-{int(now)}", os.fstat(top)
    if dry:
        with contextlib.suppress(OSError):
            trash = os.open(TRASH, _FOLDER, dir_fd=top)
    else:
        trash = made(TRASH, top, like)
        batch = made(name, trash, like)
    shut_in(top)
    sweep = Sweep(like.st_uid, before, batch)
    for folder in SWEPT:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), opened(folder, top) as at:
            sweep.sweep(folder, at)
    if trash is not None:
        sweep.purge(trash, now - keep, dry=dry)
        if not dry:
            with contextlib.suppress(OSError):
                os.rmdir(name, dir_fd=trash)
    return {**sweep.told, "complete": sweep.complete}


if __name__ == "__main__":
    workspace, before, now, keep, how = sys.argv[1:]
    main(workspace, float(before), float(now), float(keep), how)
