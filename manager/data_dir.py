"""The data directory: whose it is, who holds it, the keys in it, and who serves from it.

``bootstrap`` takes it for a manager; the operator's commands look into it beside one.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import time
from pathlib import Path
from typing import IO, Any

from manager import identity, modes
from manager.errors import (
    DISK_ERRNOS,
    AlreadyServing,
    ManagerError,
    SettingsError,
    StoreFailed,
)
from manager.launcher.ownership import WAY_MODE
from manager.settings import Settings

LOCK_ATTEMPTS = 20
LOCK_PAUSE_S = 0.01
DATA_DIR_MODE = 0o700
SECRET_BYTES = 32
ROOM_BYTES = 64 * 1024
"""What must fit into the data directory at a start: the manager's own records and a trial's."""


def make_data_dir(path: Path, room: int = 0) -> None:
    """Make the data directory, for this account alone, and see that ``room`` bytes fit into it.

    Raises:
        SettingsError: it cannot be made or written.
        StoreFailed: not now, for the disk is full or read-only.
    """
    probe = path / f".probe-{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        if stat.S_IMODE(path.stat().st_mode) != WAY_MODE:
            # That one lets running instances through to their folders, and shows nothing.
            path.chmod(DATA_DIR_MODE)
        try:
            probe.write_bytes(bytes(room))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> ManagerError:
    what = f"DATA_DIR = {path} cannot be used: {error.strerror}; "
    if error.errno in DISK_ERRNOS:
        return StoreFailed(
            f"{what}see to its disk, then start again; users' work goes on meanwhile"
        )
    return SettingsError(f"{what}allowed: a folder that this account may write")


def hold(path: Path, room: int = 0) -> IO[str]:
    """Make the data directory and take it for this process; the lock falls with the process.

    Raises:
        SettingsError: it cannot be made or written.
        StoreFailed: ``room`` bytes do not fit into it now.
        AlreadyServing: another manager has it.
    """
    make_data_dir(path, room)
    return take_lock(path)


def claim(settings: Settings, *, starts: bool) -> IO[str]:
    """Hold the data directory for a manager, and close what is open to others.

    Without ``starts`` nothing is refused for its mode or for want of room: what runs must be
    possible to end.

    Raises:
        SettingsError: it cannot be used, or a file with secrets belongs to somebody else.
        StoreFailed: its disk is full.
        AlreadyServing: another manager has it.
    """
    lock_file = hold(settings.data_dir, ROOM_BYTES if starts else 0)
    try:
        if starts:
            modes.mend(settings)
    except SettingsError:
        lock_file.close()
        raise
    return lock_file


def take_lock(data_dir: Path) -> IO[str]:
    """Take the data directory for this process; the lock falls with the process.

    Raises:
        AlreadyServing: another manager has it.
    """
    lock_file = (data_dir / "manager.lock").open("a+", encoding="ascii")
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # noqa: PERF203
            # The manager of another data directory may only be looking whether it is held.
            time.sleep(LOCK_PAUSE_S)
        else:
            return lock_file
    lock_file.close()
    raise AlreadyServing(f"another manager is using {data_dir}; see ./start_manager.sh status")


def secret_key(path: Path, *, readable: bool = False) -> bytes:
    """Give a key; made once, for this account alone, ``readable`` as letters and digits."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            made = secrets.token_bytes(SECRET_BYTES)
            new.write(made.hex().encode() if readable else made)
    except FileExistsError:
        path.chmod(0o600)
    key = path.read_bytes().strip() if readable else path.read_bytes()
    if len(key) < SECRET_BYTES:
        raise SettingsError(f"{path} is damaged; remove it, and everybody logs in once more")
    return key


def write_record(data_dir: Path, address: str) -> None:
    """Say who serves and where, for the operator's commands.

    Raises:
        StoreFailed: it cannot be written.
    """
    me = identity.read(os.getpid())
    _write(data_dir, {**(me.to_dict() if me else {}), "address": address, "ended": False})


def close_record(data_dir: Path) -> None:
    """Say that this manager has ended as it should; see ``ended_uncleanly``.

    Raises:
        StoreFailed: it cannot be written.
    """
    _write(data_dir, {**_read(data_dir), "ended": True})


def ended_uncleanly(data_dir: Path) -> bool:
    """Tell whether the manager before this one crashed, was killed or lost its machine.

    To be asked with the lock held, before ``write_record``. What an earlier version left says
    nothing, and counts as well ended.
    """
    return _read(data_dir).get("ended") is False


def _read(data_dir: Path) -> dict[str, Any]:
    try:
        found = json.loads((data_dir / "manager.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(data_dir: Path, record: dict[str, Any]) -> None:
    path = data_dir / "manager.json"
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text(json.dumps(record), encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise _unusable(data_dir, error) from error


def read_record(data_dir: Path) -> tuple[identity.Identity | None, str]:
    """Give the living manager of a data directory, if any, and its address."""
    record = _read(data_dir)
    found = identity.from_dict(record)
    if found is None or not identity.alive(found):
        return None, ""
    return found, str(record.get("address", ""))
