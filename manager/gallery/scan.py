"""Which files there are to show. Bounded: a folder may hold more files than anybody looks at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from manager.gallery.folder import MOST_PARTS, Folder, is_name, version_of

MOST_ENTRIES = 20_000
"""Entries looked at, of whatever kind; about 0.1 s on a warm disk."""


@dataclass(frozen=True)
class Kind:
    """What an ending means."""

    media_type: str
    is_video: bool = False


KINDS: Mapping[str, Kind] = {
    "png": Kind("image/png"),
    "jpg": Kind("image/jpeg"),
    "jpeg": Kind("image/jpeg"),
    "webp": Kind("image/webp"),
    "gif": Kind("image/gif"),
    "mp4": Kind("video/mp4", is_video=True),
    "webm": Kind("video/webm", is_video=True),
}
"""What is shown, by ending. Nothing that a browser would run, such as SVG or HTML."""


@dataclass(frozen=True)
class Picture:
    """A file to show. ``path`` leads from the output folder, ``changed_at`` is epoch seconds."""

    path: str
    size: int
    changed_at: float
    version: str
    is_video: bool


@dataclass(frozen=True)
class Listing:
    """Files, newest first. ``cut``: there were more entries than were looked at."""

    pictures: tuple[Picture, ...]
    cut: bool


NOTHING = Listing((), cut=False)


def ending(name: str) -> str:
    """Give a name's ending in small letters, without its dot; empty where it has none."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def listing(folder: Folder) -> Listing:
    """Look through a user's output folder; links, other accounts' files and dot files are left."""
    found: list[Picture] = []
    entries = 0
    for entry, path in _entries(folder):
        entries += 1
        if entries > MOST_ENTRIES:
            break
        picture = _picture(folder, entry, path)
        if picture is not None:
            found.append(picture)
    found.sort(key=lambda one: (-one.changed_at, one.path))
    return Listing(tuple(found), cut=entries > MOST_ENTRIES)


def _entries(folder: Folder) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Go through the folders; a folder that is swapped meanwhile is left."""
    pending: list[list[str]] = [[]]
    while pending:
        way = pending.pop()
        try:
            at = os.dup(folder.output) if not way else _open_way(folder, way)
        except OSError:
            continue
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    if not is_name(entry.name):
                        continue
                    if len(way) + 1 < MOST_PARTS and entry.is_dir(follow_symlinks=False):
                        pending.append([*way, entry.name])
                    yield entry, "/".join((*way, entry.name))
        except OSError:
            continue
        finally:
            os.close(at)


def _open_way(folder: Folder, way: list[str]) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    at = os.dup(folder.output)
    for part in way:
        try:
            below = os.open(part, flags, dir_fd=at)
        finally:
            os.close(at)
        at = below
    return at


def _picture(folder: Folder, entry: os.DirEntry[str], path: str) -> Picture | None:
    kind = KINDS.get(ending(entry.name))
    if kind is None:
        return None
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    if not folder.is_own(status):
        return None
    return Picture(path, status.st_size, status.st_mtime, version_of(status), kind.is_video)
