"""Deleting with a way back: a file waits in the workspace's trash for a while, then goes for good.

The trash is a folder beside the output folder, so that moving is a rename and costs nothing. Its
entries' names begin with the second they were thrown in, so that nothing has to be remembered.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Sequence

from manager.errors import Conflict
from manager.gallery.folder import Folder, not_there

TRASH = "trash"
KEEP_S = 60
"""The page offers the way back for less; a slow request must not find the file gone."""

_NAME = re.compile(r"([0-9]{1,12})-[0-9a-f]{16}", re.ASCII)


def throw(folder: Folder, parts: Sequence[str]) -> str:
    """Move a file out of the output folder and give its name in the trash.

    Raises:
        NotFound: it is not there any more, or there can be no trash.
    """
    name = f"{int(time.time())}-{secrets.token_hex(8)}"
    at = folder.holder(parts)
    try:
        # A rename moves what has the name, and follows no link that may stand there by now.
        os.rename(parts[-1], name, src_dir_fd=at, dst_dir_fd=_open(folder))
    except OSError:
        raise not_there() from None
    return name


def restore(folder: Folder, parts: Sequence[str], name: str) -> None:
    """Move a file back to where it was.

    Raises:
        NotFound: it is not in the trash, or its folder is gone.
        Conflict: another file stands in its place.
    """
    if not _NAME.fullmatch(name):
        raise not_there()
    at = folder.holder(parts)
    try:
        trash = folder.below(folder.top, TRASH)
        # A second name, then the first one away: a rename would write over what stands there.
        os.link(name, parts[-1], src_dir_fd=trash, dst_dir_fd=at, follow_symlinks=False)
        os.unlink(name, dir_fd=trash)
    except FileExistsError:
        raise Conflict("another file stands there", reason="output_taken") from None
    except OSError:
        raise not_there() from None


def purge(folder: Folder, now: float | None = None) -> None:
    """Take away for good what has waited long enough. ``now`` is epoch seconds."""
    now = time.time() if now is None else now
    try:
        trash = folder.below(folder.top, TRASH)
    except OSError:
        return
    for entry in os.listdir(trash):  # noqa: PTH208 - of a descriptor, which Path has not
        found = _NAME.fullmatch(entry)
        if found and int(found[1]) + KEEP_S <= now:
            with contextlib.suppress(OSError):
                os.unlink(entry, dir_fd=trash)


def _open(folder: Folder) -> int:
    """Open the trash, made where there is none; it belongs to whom the workspace belongs."""
    try:
        return folder.below(folder.top, TRASH)
    except FileNotFoundError:
        os.mkdir(TRASH, 0o700, dir_fd=folder.top)
    made = folder.below(folder.top, TRASH)
    if os.geteuid() == 0:
        # Else the next start would give the whole workspace to its account once more.
        status = os.fstat(folder.top)
        os.fchown(made, status.st_uid, status.st_gid)
    return made
