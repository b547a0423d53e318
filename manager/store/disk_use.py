"""The ``disk_use`` table: what users' folders took when they were last walked through."""

from __future__ import annotations

import json
import sqlite3

from manager.counts import DiskCandidate, DiskUse


def _use(row: sqlite3.Row) -> DiskUse:
    return DiskUse(
        row["user_id"],
        row["taken_at"],
        row["seconds"],
        json.loads(row["folders"]),
        bool(row["complete"]),
    )


class DiskUseTable:
    """Sizes by user."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def all(self) -> list[DiskUse]:
        """List what is known."""
        rows = self._connection.execute("SELECT * FROM disk_use ORDER BY user_id")
        return [_use(row) for row in rows]

    def of_user(self, user_id: int) -> DiskUse | None:
        """Give what is known of one user's."""
        row = self._connection.execute(
            "SELECT * FROM disk_use WHERE user_id = ?", (user_id,)
        ).fetchone()
        return _use(row) if row else None

    def put(self, use: DiskUse) -> None:
        """Write a user's in the place of the one before; nothing where the account is gone."""
        self._connection.execute(
            "INSERT OR REPLACE INTO disk_use (user_id, taken_at, seconds, folders, complete) "
            "SELECT id, ?, ?, ?, ? FROM users WHERE id = ?",
            (
                *(use.taken_at, use.seconds, json.dumps(dict(use.folders)), use.complete),
                use.user_id,
            ),
        )

    def candidates(self) -> list[DiskCandidate]:
        """List who has a folder, and when each last had an instance."""
        rows = self._connection.execute(
            "SELECT id, workspace, (SELECT coalesce(ended_at, started_at) FROM usage "
            "WHERE user_id = users.id ORDER BY started_at DESC LIMIT 1) AS used_at, "
            "EXISTS (SELECT 1 FROM port_status WHERE current_user_id = users.id "
            "AND status IN ('starting', 'running', 'stopping')) AS lasts "
            "FROM users WHERE workspace IS NOT NULL ORDER BY id"
        )
        return [
            DiskCandidate(row["id"], row["workspace"], row["used_at"], bool(row["lasts"]))
            for row in rows
        ]
