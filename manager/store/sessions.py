"""The ``sessions`` table: logins, known by the SHA-256 of the id in the browser's cookie.

The id is 256 random bits, so a plain fast hash is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import sqlite3

from manager.records import Session
from manager.store.users import user_of


def hash_of(session_id: str) -> str:
    """Give what the table stores for a cookie's id."""
    return hashlib.sha256(session_id.encode("utf-8", "replace")).hexdigest()


class Sessions:
    """Logins in force."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(
        self, session_id: str, user_id: int, at: float, expires_at: float, address: str
    ) -> None:
        """Remember a login."""
        self._connection.execute(
            "INSERT INTO sessions (id_hash, user_id, created_at, expires_at, address) "
            "VALUES (?, ?, ?, ?, ?)",
            (hash_of(session_id), user_id, at, expires_at, address),
        )

    def find(self, session_id: str, now: float) -> Session | None:
        """Give a login that has not expired, of an account that is not disabled."""
        row = self._connection.execute(
            "SELECT u.id, username, is_admin, assigned_port, is_active, must_change_password, "
            "CAST(strftime('%s', u.created_at) AS REAL) AS created_at, workspace, "
            "s.created_at AS session_created_at, expires_at "
            "FROM sessions s JOIN users u ON u.id = s.user_id "
            "WHERE id_hash = ? AND expires_at > ? AND is_active",
            (hash_of(session_id), now),
        ).fetchone()
        if row is None:
            return None
        return Session(user_of(row), row["session_created_at"], row["expires_at"])

    def remove(self, session_id: str) -> None:
        """Forget a login."""
        self._connection.execute("DELETE FROM sessions WHERE id_hash = ?", (hash_of(session_id),))

    def remove_of(self, user_id: int, keep: str | None = None) -> None:
        """Forget all of a user's logins, but the one whose id is ``keep``."""
        self._connection.execute(
            "DELETE FROM sessions WHERE user_id = ? AND id_hash IS NOT ?",
            (user_id, hash_of(keep) if keep else None),
        )

    def remove_expired(self, now: float) -> None:
        """Forget what has run out."""
        self._connection.execute("DELETE FROM sessions WHERE expires_at <= ?", (now,))
