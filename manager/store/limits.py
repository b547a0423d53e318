"""The ``limits`` table: what an admin allows single users, where it differs from the settings."""

from __future__ import annotations

import sqlite3

from manager.permits import UserLimits

_COLUMNS = "user_id, priority, sessions_at_once, day_limit, session_limit, disk_limit"


class LimitsTable:
    """Limits and priorities by user."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def of_user(self, user_id: int) -> UserLimits:
        """Give a user's own; where nothing is set, a record that says so."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM limits WHERE user_id = ?",  # noqa: S608
            (user_id,),
        ).fetchone()
        return UserLimits(**dict(row)) if row else UserLimits(user_id)

    def all(self) -> list[UserLimits]:
        """List those for whom something is set."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM limits ORDER BY user_id")  # noqa: S608
        return [UserLimits(**dict(row)) for row in rows]

    def put(self, limits: UserLimits) -> None:
        """Write a user's limits in the place of those before."""
        self._connection.execute(
            f"INSERT OR REPLACE INTO limits ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
            (
                *(limits.user_id, limits.priority, limits.sessions_at_once),
                *(limits.day_limit, limits.session_limit, limits.disk_limit),
            ),
        )
