"""Files that the manager keeps in a user's folder, where that user's own programs may write too.

So nothing there is trusted: no link is followed, what is not a plain file of one name is not read,
and a file is replaced as a whole. Call through ``runtime.offload``.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

MODE = 0o600


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield at
    finally:
        os.close(at)


def write(folder: Path, name: str, lines: Iterable[bytes]) -> None:
    """Write a file that only the folder's owner (and root) may read.

    Raises:
        OSError: it cannot be written.
    """
    draft = f".{name}.new"
    with _opened(folder) as at:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=at)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(draft, flags, MODE, dir_fd=at), "wb") as file:
            if os.geteuid() == 0:
                owner = os.fstat(at)
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.writelines(lines)
        os.rename(draft, name, src_dir_fd=at, dst_dir_fd=at)


def read(folder: Path, name: str, limit: int) -> list[bytes] | None:
    """Read a file's lines; None where there is none that can be relied on, or it is too long."""
    try:
        with _opened(folder) as at:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(name, flags, dir_fd=at), "rb") as file:
                found, owner = os.fstat(file.fileno()), os.fstat(at)
                if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
                    return None
                if found.st_uid not in {owner.st_uid, os.geteuid()} or found.st_size > limit:
                    return None
                return file.read(limit).splitlines()
    except OSError:
        return None


def remove(folder: Path, name: str) -> None:
    """Take a file away, if there is one."""
    with contextlib.suppress(OSError), _opened(folder) as at:
        os.unlink(name, dir_fd=at)
