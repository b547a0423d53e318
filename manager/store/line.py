"""The ``line`` table: who waits for a port, and for whom one is kept."""

from __future__ import annotations

import sqlite3

from manager.records import Waiting

_SELECT = (
    "SELECT line.id, line.user_id, username, assigned_port, joined_at, offered_port, claim_until, "
    "missed_at, coalesce(priority, 'normal') AS priority, "
    "(SELECT ended_at FROM usage WHERE usage.user_id = line.user_id AND ended_at IS NOT NULL "
    "AND ready_at IS NOT NULL ORDER BY started_at DESC LIMIT 1) AS served_at "
    "FROM line JOIN users ON users.id = line.user_id "
    "LEFT JOIN limits ON limits.user_id = line.user_id"
)


class LineTable:
    """The waiting line by when people joined; each user at most once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def join(self, user_id: int, at: float) -> None:
        """Put a user at the end; who is in the line already would lose his place by it."""
        # The old row's number is not given again (AUTOINCREMENT), so the new one is the last.
        self._connection.execute(
            "INSERT OR REPLACE INTO line (user_id, joined_at) VALUES (?, ?)", (user_id, at)
        )

    def put_back(self, left: Waiting) -> None:
        """Put a user who was removed back into his place, with nothing kept for him."""
        self._connection.execute(
            "INSERT OR REPLACE INTO line (id, user_id, joined_at) VALUES (?, ?, ?)",
            (left.id, left.user_id, left.joined_at),
        )

    def remove(self, user_id: int) -> bool:
        """Take a user out; tell whether he was there."""
        cursor = self._connection.execute("DELETE FROM line WHERE user_id = ?", (user_id,))
        return cursor.rowcount > 0

    def offer(self, user_id: int, port: int, claim_until: float) -> None:
        """Keep a port for a user."""
        self._connection.execute(
            "UPDATE line SET offered_port = ?, claim_until = ? WHERE user_id = ?",
            (port, claim_until, user_id),
        )

    def withdraw(self, user_id: int) -> None:
        """Keep no port for a user any more; his place stays."""
        self._connection.execute(
            "UPDATE line SET offered_port = NULL, claim_until = NULL WHERE user_id = ?", (user_id,)
        )

    def miss(self, user_id: int, at: float) -> None:
        """Take a user out who did not take what was kept for him, and remember it."""
        self._connection.execute(
            "UPDATE line SET offered_port = NULL, claim_until = NULL, missed_at = ? "
            "WHERE user_id = ?",
            (at, user_id),
        )

    def of_user(self, user_id: int) -> Waiting | None:
        """Find a user's row, also one that is only shown."""
        row = self._connection.execute(f"{_SELECT} WHERE line.user_id = ?", (user_id,)).fetchone()
        return Waiting(**dict(row)) if row else None

    def waiting(self) -> list[Waiting]:
        """List who is in the line, who joined first first."""
        rows = self._connection.execute(f"{_SELECT} WHERE missed_at IS NULL ORDER BY line.id")
        return [Waiting(**dict(row)) for row in rows]
