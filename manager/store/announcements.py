"""The ``announcements`` table, and who has put which away."""

from __future__ import annotations

import sqlite3

from manager.notices import Announcement

_COLUMNS = "id, level, text_en, text_zh, made_by, made_at, until"


class AnnouncementTable:
    """What is told to everybody."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(self, one: Announcement) -> None:
        """Add one; its ``id`` is chosen here."""
        self._connection.execute(
            "INSERT INTO announcements (level, text_en, text_zh, made_by, made_at, until) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (one.level, one.text_en, one.text_zh, one.made_by, one.made_at, one.until),
        )

    def get(self, number: int) -> Announcement | None:
        """Find one by its id."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM announcements WHERE id = ?",  # noqa: S608 - our own words
            (number,),
        ).fetchone()
        return Announcement(**dict(row)) if row else None

    def in_force(self, now: float) -> list[Announcement]:
        """List those whose time is not over, warnings first, then the newest."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM announcements "  # noqa: S608 - our own words
            "WHERE until IS NULL OR until > ? ORDER BY level DESC, id DESC",
            (now,),
        )
        return [Announcement(**dict(row)) for row in rows]

    def remove(self, number: int) -> None:
        """Forget one."""
        self._connection.execute("DELETE FROM announcements WHERE id = ?", (number,))

    def remove_over(self, now: float) -> None:
        """Forget those whose time is over."""
        self._connection.execute("DELETE FROM announcements WHERE until <= ?", (now,))

    def put_away(self, number: int, user_id: int) -> None:
        """Remember that somebody has put one away."""
        self._connection.execute(
            "INSERT OR IGNORE INTO announcements_put_away (announcement_id, user_id) VALUES (?, ?)",
            (number, user_id),
        )

    def put_away_by(self, user_id: int) -> frozenset[int]:
        """List the ids of those that somebody has put away."""
        rows = self._connection.execute(
            "SELECT announcement_id FROM announcements_put_away WHERE user_id = ?", (user_id,)
        )
        return frozenset(row[0] for row in rows)
