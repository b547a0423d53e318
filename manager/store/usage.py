"""The ``usage`` table: who had which card, from when to when, and why it ended."""

from __future__ import annotations

import sqlite3

from manager.records import Usage


class UsageLog:
    """Sessions of use, one a launch."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def begin(
        self, launch_id: str, user_id: int, username: str, port: int, card: int, at: float
    ) -> None:
        """Add a session of use that begins ``at``."""
        self._connection.execute(
            "INSERT INTO usage (launch_id, user_id, username, port, card, started_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (launch_id, user_id, username, port, card, at),
        )

    def ready(self, launch_id: str, at: float) -> None:
        """Note when it could be used."""
        self._connection.execute(
            "UPDATE usage SET ready_at = ? WHERE launch_id = ?", (at, launch_id)
        )

    def end(self, launch_id: str, at: float, reason: str, fault: str | None) -> None:
        """Note when and why it ended; the first end counts."""
        self._connection.execute(
            "UPDATE usage SET ended_at = ?, end_reason = ?, fault = ? "
            "WHERE launch_id = ? AND ended_at IS NULL",
            (at, reason, fault, launch_id),
        )

    def last_of(self, user_id: int) -> Usage | None:
        """Give a user's newest session of use."""
        row = self._connection.execute(
            "SELECT * FROM usage WHERE user_id = ? ORDER BY started_at DESC, rowid DESC LIMIT 1",
            (user_id,),
        ).fetchone()
        return Usage(**dict(row)) if row else None
