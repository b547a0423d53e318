"""Copies of the database: taken beside a manager at work, proven whole, made fit to be used.

A copy holds no login, no API token and nothing that opens a running instance: what was in force
when it was made may have been ended since. Passwords and second factors stay as they were then.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from manager.errors import BadInput, StoreFailed
from manager.records import AuditEntry
from manager.store.audit import Audit
from manager.store.database import (
    latest_version,
    migrate,
    transaction,
    version_of,
)
from manager.store.keeping import save_file

DEAD_IN_COPIES = ("sessions", "api_tokens", "line")
"""Tables whose rows mean something at their own time alone: logins, tokens, and who waits."""

_IDLE = """
UPDATE port_status SET status = 'idle', current_user_id = NULL, current_username = NULL,
    process_id = NULL, launch_id = NULL, token = NULL, secret = NULL, started_at = NULL,
    ready_at = NULL, deadline_at = NULL, stop_reason = NULL, address = NULL, idle_count = 0
WHERE status IN ('starting', 'running', 'stopping')
"""


def copy(source: Path, target: Path, at: float) -> int:
    """Copy a database that may be at work into a new file, and prove the copy whole.

    Args:
        source: the database; another program may be writing to it.
        target: the new file, readable for this account alone.
        at: UTC epoch seconds, the end of the sessions of use that last.

    Returns:
        The copy's schema version. A copy of an older schema is left as it is.

    Raises:
        StoreFailed: there is no database, it is damaged, or the copy cannot be written.
    """
    if version_of(source) is None:
        raise StoreFailed(f"{source} is no database; is DATABASE_PATH right?")
    try:
        save_file(source, target)
        with contextlib.closing(_open(target)) as connection:
            version = _whole(connection, target)
            if version == latest_version():
                _make_dead(connection, at)
            # One file, with nothing of what was deleted in it.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("VACUUM")
    except (sqlite3.Error, OSError) as error:
        raise StoreFailed(f"{source} cannot be copied to {target}: {error}") from error
    return version


def make_fit(path: Path, made_at: float, used_id: int, actor: str) -> None:
    """Bring a copy up to this program's schema, for a manager to begin with.

    Args:
        path: the copy; it is changed.
        made_at: UTC epoch seconds at which it was taken.
        used_id: the highest user id that is taken already; no account gets it or a lower one.
        actor: who restores it, for the audit.

    Raises:
        BadInput: it is damaged, no database of this program, or made by a newer one.
        StoreFailed: it cannot be written.
    """
    if (version_of(path) or 0) > latest_version():
        raise BadInput(
            f"it was made by a newer version (schema {version_of(path)}, this one knows "
            f"{latest_version()}): install that version, then restore"
        )
    try:
        with contextlib.closing(_open(path)) as connection:
            _whole(connection, path)
            migrate(connection)
            _make_dead(connection, made_at)
            with transaction(connection):
                _begin_ids_after(connection, used_id)
                entry = AuditEntry(time.time(), actor, "restored", "database", f"of {made_at:.0f}")
                Audit(connection).add(entry)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.DatabaseError as error:
        raise BadInput(f"its database cannot be used: {error}") from error


def highest_user_id(path: Path) -> int:
    """Give the highest id that a file's accounts ever had; 0 where that cannot be read."""
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(_open(path)) as connection:
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'users'").fetchone()
        return int(row[0]) if row else 0
    return 0


def integrity(path: Path) -> str | None:
    """Read the whole file and give what is wrong with it; None when nothing is.

    Takes as long as the disk: call through ``runtime.offload``.
    """
    try:
        with contextlib.closing(_open(path)) as connection:
            connection.execute("PRAGMA query_only = ON")
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    except sqlite3.Error as error:
        return str(error)
    return None if said == ["ok"] else "; ".join(said)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path.resolve().as_uri() + "?mode=rw", uri=True, timeout=5)
    connection.isolation_level = None
    connection.row_factory = sqlite3.Row
    # What is deleted is written over.
    connection.execute("PRAGMA secure_delete = ON")
    return connection


def _whole(connection: sqlite3.Connection, path: Path) -> int:
    said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(3)")]
    if said != ["ok"]:
        raise sqlite3.DatabaseError(f"{path.name} is damaged: {'; '.join(said)}")
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _make_dead(connection: sqlite3.Connection, at: float) -> None:
    with transaction(connection):
        for table in DEAD_IN_COPIES:
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own words only
        connection.execute(_IDLE)
        connection.execute(
            "UPDATE usage SET ended_at = max(?, started_at), end_reason = 'shutdown' "
            "WHERE ended_at IS NULL",
            (at,),
        )


def _begin_ids_after(connection: sqlite3.Connection, used_id: int) -> None:
    # An id names the user's account on the system and his folder: never the same for two people.
    connection.execute(
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'users', 0 "
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'users')"
    )
    connection.execute(
        "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'users'", (used_id,)
    )
