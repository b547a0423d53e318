"""The ``usage`` table: who had which card, from when to when, and why it ended."""

from __future__ import annotations

import sqlite3

from manager.records import Instance, Usage, User


class UsageLog:
    """Sessions of use, one a launch."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def begin(
        self,
        launch_id: str,
        user: User,
        port: int,
        card: int,
        at: float,
        *,
        automatic: bool = False,
    ) -> None:
        """Add a session of use that begins ``at``; ``automatic`` when the manager began it."""
        self._connection.execute(
            "INSERT INTO usage (launch_id, user_id, username, port, card, started_at, automatic) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (launch_id, user.id, user.username, port, card, at, automatic),
        )

    def ready(self, launch_id: str, at: float) -> None:
        """Note when it could be used."""
        self._connection.execute(
            "UPDATE usage SET ready_at = ? WHERE launch_id = ?", (at, launch_id)
        )

    def end(self, launch_id: str, at: float, reason: str, last: Instance) -> None:
        """Note when and why it ended, with what the port's row says; the first end counts."""
        self._connection.execute(
            "UPDATE usage SET ended_at = ?, end_reason = ?, fault = ?, fault_kind = ?, "
            "fault_line = ?, exit_code = ? WHERE launch_id = ? AND ended_at IS NULL",
            (
                *(at, reason, last.fault, last.fault_kind, last.fault_line, last.exit_code),
                launch_id,
            ),
        )

    def automatic_starts(self, user_id: int, since: float) -> list[float]:
        """List when the manager itself began something for a user, after ``since``."""
        rows = self._connection.execute(
            "SELECT started_at FROM usage WHERE user_id = ? AND automatic AND started_at > ?",
            (user_id, since),
        )
        return [row["started_at"] for row in rows]

    def was_automatic(self, launch_id: str) -> bool:
        """Tell whether the manager itself began a launch."""
        row = self._connection.execute(
            "SELECT automatic FROM usage WHERE launch_id = ?", (launch_id,)
        ).fetchone()
        return bool(row and row["automatic"])

    def last_of(self, user_id: int) -> Usage | None:
        """Give a user's newest session of use."""
        row = self._connection.execute(
            "SELECT * FROM usage WHERE user_id = ? ORDER BY started_at DESC, rowid DESC LIMIT 1",
            (user_id,),
        ).fetchone()
        return Usage(**{**dict(row), "automatic": bool(row["automatic"])}) if row else None
