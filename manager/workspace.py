"""A user's directories: made, tried and found again. They outlive instances; nothing is wiped.

``data/workspaces/<user id>-<slug>-<random>/{input,output,temp,user,home}``. The name is made once
and kept with the account, so a renamed user keeps his files and nobody inherits another's; the slug
is there for people who look into the folder. Called by ``lifecycle``.
"""

from __future__ import annotations

import errno
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from manager.errors import WorkspaceFailed
from manager.runtime import offload
from manager.settings import Settings

FOLDER_MODE = 0o700
SLUG_LENGTH = 40
_FOLDER = re.compile(r"[0-9]+-[A-Za-z0-9_-]+")
_HARMFUL = re.compile(r"[^A-Za-z0-9_-]+")
_TRIAL = b"\0" * 4096


@dataclass(frozen=True)
class Workspace:
    """Where one user's files are; ``home`` is for what libraries keep, such as models."""

    path: Path
    input: Path
    output: Path
    temp: Path
    user: Path
    home: Path


def folder_name(user_id: int, username: str) -> str:
    """Make a name for a user's folder, once: any username gives a harmless one.

    The random end keeps a database that was made anew from giving an old folder to a new user.
    """
    slug = _HARMFUL.sub("-", username)[:SLUG_LENGTH].strip("-")
    return "-".join(part for part in (str(user_id), slug, secrets.token_hex(4)) if part)


def prepare(settings: Settings, name: str) -> Workspace:
    """Make all directories of the workspace ``name`` and write into each.

    ComfyUI itself starts with directories it cannot write, and only fails later, in the user's
    hands: so each is tried here.

    Raises:
        WorkspaceFailed: names the directory, what the system said and what to do.
    """
    return offload(_prepare, settings, name)


def _prepare(settings: Settings, name: str) -> Workspace:
    if not _FOLDER.fullmatch(name):
        raise WorkspaceFailed(f"{name!r} is no name of a workspace", folder=name)
    parent = settings.data_dir / "workspaces"
    path = parent / name
    names = ("input", "output", "temp", "user", "home")
    workspace = Workspace(path, *(path / name for name in names))
    for folder in (settings.data_dir, parent, path):
        _make(folder)
    for name in names:
        folder = path / name
        _make(folder)
        _try_to_write(folder)
    return workspace


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
