"""Giving a user's folder to the account that the user's instance runs as.

Needs root, and is done by it inside folders that somebody else's code has filled: so links are
never followed, neither while walking nor when changing an owner. Call through ``runtime.offload``.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

WAY_MODE = 0o711
"""For folders on the way to a user's own: to be passed through, not to be listed."""


def hand_over(folder: Path, uid: int) -> int:
    """Make ``uid`` the owner of a folder and all in it.

    Nothing is done where the folder and what lies directly in it have that owner: the folder itself
    is changed last, so a walk that was cut short is walked again. A file with several names is
    left: one of them may lie in a folder of somebody else.

    Returns:
        How many entries were changed.

    Raises:
        OSError: an owner could not be changed.
    """
    if all(path.lstat().st_uid == uid for path in (folder, *folder.iterdir())):
        return 0
    changed = 0
    for _, folders, files, at in os.fwalk(folder, topdown=False, follow_symlinks=False):
        for name in (*folders, *files):
            changed += _change(name, at, uid)
    if folder.lstat().st_uid != uid:
        os.chown(folder, uid, uid, follow_symlinks=False)
        changed += 1
    return changed


def _change(name: str, folder: int, uid: int) -> int:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if found.st_uid == uid or (not stat.S_ISDIR(found.st_mode) and found.st_nlink > 1):
        return 0
    os.chown(name, uid, uid, dir_fd=folder, follow_symlinks=False)
    return 1


def let_through(folder: Path) -> None:
    """Let other accounts pass through a folder of the manager's own, and see nothing of it.

    Raises:
        OSError: its mode could not be changed.
    """
    if stat.S_IMODE(folder.stat().st_mode) != WAY_MODE:
        folder.chmod(WAY_MODE)


def closed_to_others(path: Path) -> Path | None:
    """Find the first folder on the way to a path that other accounts may not pass, if any."""
    real = Path(os.path.realpath(path))
    for folder in (*reversed(real.parents), real):
        try:
            mode = folder.stat().st_mode
        except OSError:
            return folder
        if stat.S_ISDIR(mode) and not mode & stat.S_IXOTH:
            return folder
    return None
