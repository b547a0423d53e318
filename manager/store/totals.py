"""What the sessions of use come to: by user, day or card, and one by one. Reads only."""

from __future__ import annotations

import math
import sqlite3
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from manager import days
from manager.counts import Held, Own, Sitting, Total

_GROUPS: Mapping[str, tuple[str, str]] = {
    "user": ("user_id", "user_id"),
    "day": ("day", "date(started_at, 'unixepoch', 'localtime')"),
    "card": ("card", "card"),
}
"""What to group days by, and the same of a session's beginning, where its waiting belongs."""

BY = tuple(_GROUPS)

_SUMS = (
    "coalesce(sum(held_seconds), 0) AS held_seconds, "
    "coalesce(sum(worked_seconds), 0) AS worked_seconds, "
    "coalesce(sum(idle_seconds), 0) AS idle_seconds, "
    "coalesce(sum(unknown_seconds), 0) AS unknown_seconds, "
    "coalesce(sum(prompts), 0) AS prompts"
)

BEGINNING = "0001-01-01"
"""A day before all others."""


class Totals:
    """Sums over ``usage`` and ``usage_days``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def by(self, group: str, since: str) -> list[Total]:
        """Give the totals from the day ``since`` on, by ``user``, ``day`` or ``card``."""
        key, begun = _GROUPS[group]
        rows = self._connection.execute(
            f"SELECT {key} AS key, max(username) AS username, "  # noqa: S608 - our own words
            f"count(DISTINCT launch_id) AS sessions, {_SUMS} "
            # In this order: SQLite would rather walk all of ``usage`` to have it grouped.
            f"FROM usage_days CROSS JOIN usage USING (launch_id) WHERE day >= ? GROUP BY {key} "
            f"ORDER BY {key}",
            (since,),
        ).fetchall()
        waits = self._waits(begun, since)
        named = group == "user"
        return [
            _total(row, str(row["username" if named else "key"]), waits.get(row["key"], ()))
            for row in rows
        ]

    def _waits(
        self, begun: str, since: str, where: str = "TRUE", *values: object
    ) -> Mapping[object, Sequence[float]]:
        rows = self._connection.execute(
            f"SELECT {begun} AS key, waited_seconds FROM usage "  # noqa: S608 - our own words
            f"WHERE waited_seconds > 0 AND started_at >= ? AND {where}",
            (_begin(since), *values),
        )
        waits: dict[object, list[float]] = defaultdict(list)
        for row in rows:
            waits[row["key"]].append(row["waited_seconds"])
        return waits

    def sittings(self, since: str, most: int, user_id: int | None = None) -> list[Sitting]:
        """List the newest ``most`` sessions that held a card on ``since`` or later."""
        whose = "TRUE" if user_id is None else "user_id = ?"
        rows = self._connection.execute(
            "SELECT username, port, card, started_at, ended_at, end_reason, waited_seconds, "  # noqa: S608
            f"{_SUMS} FROM (SELECT rowid AS number, * FROM usage "
            f"WHERE coalesce(ended_at, ?) >= ? AND {whose} "
            "ORDER BY started_at DESC, rowid DESC LIMIT ?) LEFT JOIN usage_days USING (launch_id) "
            "GROUP BY launch_id ORDER BY started_at DESC, number DESC",
            (math.inf, _begin(since), *(() if user_id is None else (user_id,)), most),
        )
        return [Sitting(**dict(row)) for row in rows]

    def held_by_day(self, since: str, most: int) -> list[Held]:
        """Give by days from ``since`` on what the ``most`` users with most time held, and the rest.

        The days in order; on each the users in theirs, then those who are not named.
        """
        rows = self._connection.execute(
            "WITH held AS (SELECT day, user_id, username, held_seconds "
            # In this order, as above.
            "FROM usage_days CROSS JOIN usage USING (launch_id) WHERE day >= ?), "
            "named AS (SELECT user_id, max(username) AS username, sum(held_seconds) AS total "
            "FROM held GROUP BY user_id ORDER BY total DESC, user_id LIMIT ?) "
            "SELECT day, named.username AS username, sum(held_seconds) AS held_seconds "
            "FROM held LEFT JOIN named USING (user_id) GROUP BY day, named.user_id "
            "ORDER BY day, total IS NULL, total DESC, named.user_id",
            (since, most),
        )
        return [Held(**dict(row)) for row in rows]

    def own(self, user_id: int, today: str, most: int) -> Own:
        """Give a user's own use: today, since Monday, and the newest ``most`` sessions."""
        return Own(
            today=self._of_user(user_id, today),
            week=self._of_user(user_id, days.monday_of(today)),
            sittings=self.sittings(BEGINNING, most, user_id),
        )

    def _of_user(self, user_id: int, since: str) -> Total:
        row = self._connection.execute(
            "SELECT count(DISTINCT launch_id) AS sessions, "  # noqa: S608 - our own words
            f"{_SUMS} FROM usage CROSS JOIN usage_days USING (launch_id) WHERE user_id = ? "
            "AND coalesce(ended_at, ?) >= ? AND day >= ?",
            (user_id, math.inf, _begin(since), since),
        ).fetchone()
        waits = self._waits("user_id", since, "user_id = ?", user_id)
        return _total(row, since, waits.get(user_id, ()))


def _begin(day: str) -> float:
    return days.begin_of(day) if day != BEGINNING else 0.0


def _total(row: sqlite3.Row, key: str, waits: Sequence[float]) -> Total:
    return Total(
        key=key,
        sessions=row["sessions"],
        held_seconds=row["held_seconds"],
        worked_seconds=row["worked_seconds"],
        idle_seconds=row["idle_seconds"],
        unknown_seconds=row["unknown_seconds"],
        prompts=row["prompts"],
        waited=len(waits),
        waited_median=statistics.median(waits) if waits else None,
    )
