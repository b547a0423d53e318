"""Copies of the database file as it is: the automatic one before its schema is changed."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

FILE_MODE = 0o600
BUSY_TIMEOUT_MS = 5000
"""For the rare second process (the operator's commands); the writer waits off the green loop."""


def keep_before_migration(connection: sqlite3.Connection, path: Path, newest: int) -> Path | None:
    """Copy a file of an older schema before it is changed: ``<name>.backup-before-<schema>``.

    A copy that is there stays: it may be from before a migration that was broken off half way.

    Returns:
        The copy; None where there is nothing to keep.
    """
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version >= newest or not tables:
        return None
    name = f"{path.name}.backup-before-{newest}"
    taken = sum(one.name.startswith(name) for one in path.parent.iterdir())
    target = path.with_name(f"{name}-{taken + 1}" if taken else name)
    # What begins with the database's name is hidden from instances.
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    try:
        save_file(path, fresh)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    return target


def save_file(source: Path, target: Path) -> None:
    """Copy a database file that may be at work into a new file, safe on the disk when this returns.

    Raises:
        OSError: the new file cannot be made.
        sqlite3.Error: SQLite refused, or the disk is full.
    """
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
    uri = f"{source.resolve().as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        # All pages in one step: the state of one moment, while others write on.
        old.backup(new)
    with target.open("rb") as file:
        os.fsync(file.fileno())
