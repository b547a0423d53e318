"""The ``line_history`` table: how long the line was, in spans of a quarter and of two hours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from manager.spans import LineSpan

_JOINED = (
    "sum(looks) AS looks, sum(length_sum) AS length_sum, max(length_high) AS length_high, "
    "max(wait_high) AS wait_high"
)


class LineHistoryTable:
    """Spans of the line."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(self, spans: Iterable[LineSpan]) -> None:
        """Write spans; what is there of the same time already is joined with them."""
        self._connection.executemany(
            "INSERT INTO line_history (seconds, at, looks, length_sum, length_high, wait_high) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (seconds, at) DO UPDATE SET "
            "looks = looks + excluded.looks, length_sum = length_sum + excluded.length_sum, "
            "length_high = max(length_high, excluded.length_high), "
            "wait_high = max(wait_high, excluded.wait_high)",
            [
                (one.seconds, one.at, one.looks, one.length_sum, one.length_high, one.wait_high)
                for one in spans
            ],
        )

    def of(self, seconds: int, since: float, joined: int) -> list[LineSpan]:
        """List what begins at ``since`` or later, out of spans of ``seconds`` joined into longer.

        Oldest first; ``joined`` is how many seconds these have.
        """
        rows = self._connection.execute(
            f"SELECT at / ? * ? AS begin, {_JOINED} FROM line_history "  # noqa: S608 - our own words
            "WHERE seconds = ? AND at >= ? GROUP BY begin ORDER BY begin",
            (joined, joined, seconds, since),
        )
        return [LineSpan(joined, *row) for row in rows]

    def newest(self, seconds: int) -> int | None:
        """Give when the newest span of a length begins."""
        (at,) = self._connection.execute(
            "SELECT max(at) FROM line_history WHERE seconds = ?", (seconds,)
        ).fetchone()
        return None if at is None else int(at)

    def thin_out(self, seconds: int, longer: int, until: float) -> None:
        """Join the spans of ``seconds`` that begin before ``until`` into longer ones, once."""
        done = self.newest(longer)
        since = 0 if done is None else done + longer
        self._connection.execute(
            "INSERT INTO line_history (seconds, at, looks, length_sum, length_high, wait_high) "  # noqa: S608
            f"SELECT ?, at / ? * ?, {_JOINED} FROM line_history "
            "WHERE seconds = ? AND at >= ? AND at < ? GROUP BY 2",
            (longer, longer, longer, seconds, since, until),
        )

    def prune(self, seconds: int, before: float) -> None:
        """Remove spans of a length that begin before a time."""
        self._connection.execute(
            "DELETE FROM line_history WHERE seconds = ? AND at < ?", (seconds, before)
        )
