"""Which part of the file system an instance may see: everything but what belongs to others.

Landlock and bubblewrap only know what is allowed, so what is to stay hidden is cut out: instead of
a folder that holds something hidden, its other entries are allowed one by one. Looks at the disk at
each start and changes nothing; what is made later in such a folder is seen from the next start on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

KERNEL = tuple(map(Path, ("/proc", "/sys", "/dev")))
"""File systems of the kernel's own: each way of confinement deals with them itself."""

PRIVATE = tuple(
    map(
        Path,
        (
            *("/root", "/home", "/lost+found"),
            # Where programs of other accounts leave files: an instance has its own TMPDIR.
            *("/tmp", "/var/tmp"),  # noqa: S108 - hidden, not used
            # Sockets and keys of people who are logged in, and of the system's services.
            *("/run/user", "/run/credentials", "/run/secrets"),
        ),
    )
)
"""Hidden always."""

OF_ROOT = tuple(
    map(
        Path,
        (
            *("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-"),
            *("/etc/ssl/private", "/etc/ssh", "/var/spool", "/var/lib/sss"),
        ),
    )
)
"""Hidden from an instance that runs as root, to which they belong; their modes keep others out."""

MOST_ENTRIES = 4096
"""A folder with more than so many entries beside a hidden one is hidden as a whole."""


def visible(
    needed: Iterable[Path],
    ours: Sequence[Path],
    *,
    as_root: bool = False,
    root: Path = Path("/"),
) -> tuple[Path, ...]:
    """List what an instance may read, as few paths as will do.

    Args:
        needed: shown even below ``PRIVATE``: ComfyUI, its Python, folders the operator shares.
        ours: files and folders of the manager and of all users. Hidden even inside ``needed``,
            and with them whatever has such a file's name as its beginning (``-wal``, ``.1``).
        as_root: whether the instance runs as root, though without capabilities.
        root: where the walk begins.
    """
    ours = [_real(path) for path in ours]
    private = [_real(path) for path in (*PRIVATE, *(OF_ROOT if as_root else ()))]
    found = _carve(root, [*ours, *private, *KERNEL], ours)
    for path in map(_real, needed):
        if not any(_is_in(path, seen) for seen in found):
            found += _carve(path, ours, ours)
    return tuple(dict.fromkeys(found))


def _carve(path: Path, hidden: Sequence[Path], ours: Sequence[Path]) -> list[Path]:
    """Allow a path whole, or all of it but what is hidden; nothing when itself is hidden."""
    if _is_hidden(path, hidden, ours):
        return []
    if not any(_is_in(one, path) for one in hidden):
        return [path]
    try:
        # Reading one more than allowed tells a folder that is too full.
        with os.scandir(path) as entries:
            some = [entry for entry, _ in zip(entries, range(MOST_ENTRIES + 1), strict=False)]
    except OSError:
        return []
    if len(some) > MOST_ENTRIES:
        return []
    found = []
    for entry in sorted(some, key=lambda entry: entry.name):
        child = Path(entry.path)
        if not entry.is_symlink():
            found += _carve(child, hidden, ours)
        elif _is_harmless(child, hidden, ours):
            found.append(child)
    return found


def _is_hidden(path: Path, hidden: Sequence[Path], ours: Sequence[Path]) -> bool:
    if any(_is_in(path, one) for one in hidden):
        return True
    return any(path.parent == one.parent and path.name.startswith(one.name) for one in ours)


def _is_harmless(link: Path, hidden: Sequence[Path], ours: Sequence[Path]) -> bool:
    """Tell whether a link leads to something that may be shown whole.

    To allow a link is to allow what it leads to, with everything below.
    """
    target = _real(link)
    if not target.exists() or target == Path("/") or _is_hidden(target, hidden, ours):
        return False
    return not any(_is_in(one, target) for one in hidden)


def _is_in(path: Path, folder: Path) -> bool:
    """Like ``Path.is_relative_to``, which takes twenty times as long: asked thousands of times."""
    parts = folder.parts
    return path.parts[: len(parts)] == parts


def _real(path: Path) -> Path:
    """Resolve links, as the kernel does before it asks what is allowed."""
    return Path(os.path.realpath(path))
