"""A user's directories: made, tried and found again. They outlive instances; nothing is wiped.

``data/workspaces/<user id>-<slug>/{input,output,temp,user}``. The id makes the name unique and
carries the meaning; the slug is there for people who look into the folder. A renamed user keeps
his directory. Called by ``lifecycle`` before a start.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from manager.errors import WorkspaceFailed
from manager.runtime import offload
from manager.settings import Settings

FOLDER_MODE = 0o700
SLUG_LENGTH = 40
_HARMFUL = re.compile(r"[^A-Za-z0-9_-]+")
_TRIAL = b"\0" * 4096


@dataclass(frozen=True)
class Workspace:
    """Where one user's files are."""

    user_id: int
    path: Path
    input: Path
    output: Path
    temp: Path
    user: Path


def slug(username: str) -> str:
    """Turn any name into a harmless piece of a file name; empty when nothing is left of it."""
    return _HARMFUL.sub("-", username).strip("-")[:SLUG_LENGTH].rstrip("-")


def locate(settings: Settings, user_id: int, username: str) -> Workspace:
    """Say where a user's files are or would be; touches nothing.

    Raises:
        WorkspaceFailed: the folder of workspaces cannot be looked into.
    """
    parent = settings.data_dir / "workspaces"
    wanted = parent / f"{user_id}-{slug(username)}".rstrip("-")
    path = wanted if _is_folder(wanted) else _existing(parent, user_id) or wanted
    return Workspace(user_id, path, path / "input", path / "output", path / "temp", path / "user")


def prepare(settings: Settings, user_id: int, username: str) -> Workspace:
    """Make all of a user's directories and write into each.

    ComfyUI itself starts with directories it cannot write, and only fails later, in the user's
    hands: so each is tried here.

    Raises:
        WorkspaceFailed: names the directory, what the system said and what to do.
    """
    return offload(_prepare, settings, user_id, username)


def disk_use(path: Path) -> int:
    """Add up what a directory takes on the disk, in bytes; links are not followed.

    Walks the whole tree: call through ``runtime.offload``.
    """
    total = 0
    pending = [str(path)]
    while pending:
        total += _add_up(pending.pop(), pending)
    return total


def _add_up(folder: str, pending: list[str]) -> int:
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                total += status.st_blocks * 512  # in units of 512 bytes, stat(2)
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
    except OSError:
        # Removed or closed off while we count: an instance may be at work in there.
        return total
    return total


def _prepare(settings: Settings, user_id: int, username: str) -> Workspace:
    workspace = locate(settings, user_id, username)
    settings_dir = settings.data_dir
    for folder in (settings_dir, workspace.path.parent, workspace.path):
        _make(folder)
    for folder in (workspace.input, workspace.output, workspace.temp, workspace.user):
        _make(folder)
        _try_to_write(folder)
    return workspace


def _existing(parent: Path, user_id: int) -> Path | None:
    """Find a directory this user had under another name; the id is a number, so safe to match."""
    try:
        folders = sorted(parent.iterdir())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed(parent, error) from error
    number = str(user_id)
    return next((one for one in folders if one.name.partition("-")[0] == number), None)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise _failed(path, error) from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise _failed(folder, error) from error


def _try_to_write(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(_TRIAL)
            file.flush()
    except OSError as error:
        raise _failed(folder, error) from error


def _failed(folder: Path, error: OSError) -> WorkspaceFailed:
    what = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        advice = "free some space on that disk or set DATA_DIR to another one"
    elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        advice = "let the manager's account write there, or set DATA_DIR to another folder"
    elif error.errno in {errno.EEXIST, errno.ENOTDIR}:
        advice = "a file stands where a folder is needed: move it away"
    else:
        advice = "check this folder, or set DATA_DIR to another one"
    return WorkspaceFailed(f"{folder} cannot be used: {what}; {advice}", folder=str(folder))
