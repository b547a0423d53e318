"""The ``card_history`` table: what the cards showed, in spans of one and of fifteen minutes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from manager.spans import METRICS, Extent, Span

_PARTS = ("low", "mean", "high")
_COLUMNS = (
    *("device", "seconds", "at", "looks", "health", "memory_total"),
    *(f"{name}_{part}" for name in METRICS for part in _PARTS),
)
_PLACES = ", ".join("?" * len(_COLUMNS))


class CardHistoryTable:
    """Spans of cards."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(self, spans: Iterable[Span]) -> None:
        """Write spans; one that is there already is replaced."""
        self._connection.executemany(
            f"INSERT OR REPLACE INTO card_history ({', '.join(_COLUMNS)}) VALUES ({_PLACES})",  # noqa: S608 - names of our own
            [_row(span) for span in spans],
        )

    def of(self, device: int, seconds: int, since: float) -> list[Span]:
        """List a device's spans of a length that begin at ``since`` or later, the oldest first."""
        rows = self._connection.execute(
            "SELECT * FROM card_history WHERE seconds = ? AND device = ? AND at >= ? ORDER BY at",
            (seconds, device, since),
        )
        return [_span(row) for row in rows]

    def all_of(self, seconds: int, since: float, until: float) -> list[Span]:
        """List all devices' spans of a length that begin within a time."""
        rows = self._connection.execute(
            "SELECT * FROM card_history WHERE seconds = ? AND at >= ? AND at < ?",
            (seconds, since, until),
        )
        return [_span(row) for row in rows]

    def use(
        self, seconds: int, joined: int, shift: int, since: float
    ) -> dict[tuple[int, int], float]:
        """Give the mean use in percent by device and by longer spans, of spans of ``seconds``.

        The longer ones have ``joined`` seconds and begin ``shift`` seconds before multiples of it.
        """
        rows = self._connection.execute(
            "SELECT device, (at + ?) / ? * ? - ? AS begin, "
            "sum(utilisation_mean * looks) / sum(looks) AS mean FROM card_history "
            "WHERE seconds = ? AND at >= ? AND utilisation_mean IS NOT NULL "
            "GROUP BY device, begin",
            (shift, joined, joined, shift, seconds, since),
        )
        return {(device, begin): mean for device, begin, mean in rows}

    def newest(self, seconds: int) -> int | None:
        """Give when the newest span of a length begins."""
        (at,) = self._connection.execute(
            "SELECT max(at) FROM card_history WHERE seconds = ?", (seconds,)
        ).fetchone()
        return None if at is None else int(at)

    def prune(self, seconds: int, before: float) -> None:
        """Remove spans of a length that begin before a time."""
        self._connection.execute(
            "DELETE FROM card_history WHERE seconds = ? AND at < ?", (seconds, before)
        )


def _row(span: Span) -> tuple[object, ...]:
    extents = (span.extents.get(name) for name in METRICS)
    parts = [(e.low, round(e.mean, 2), e.high) if e else (None,) * 3 for e in extents]
    first = (span.device, span.seconds, span.at, span.looks, span.health, span.memory_total)
    return (*first, *(value for part in parts for value in part))


def _span(row: sqlite3.Row) -> Span:
    extents = {
        name: Extent(*(row[f"{name}_{part}"] for part in _PARTS))
        for name in METRICS
        if row[f"{name}_low"] is not None
    }
    device, seconds, at, looks, health, total = (row[name] for name in _COLUMNS[:6])
    return Span(device, seconds, at, looks, health, total, extents)
