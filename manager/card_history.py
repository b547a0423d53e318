"""The history of the cards' readings: gathered in memory, written in batches, thinned out with age.

One span a minute is kept for a day, one of fifteen minutes for a month. Nothing is written but
once in ``FLUSH_S``, in one transaction, and then only what is new.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from manager.cards.reading import Reading
from manager.gathering import Gathering
from manager.spans import METRICS, Extent, Span, merge
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

MINUTE_S, QUARTER_S, DAY_S = 60, 900, 86_400
FLUSH_S = 300.0

KEPT_S = {MINUTE_S: DAY_S + 3600, QUARTER_S: 31 * DAY_S}
"""For how long spans of each length are kept."""

MOST_WAITING = 24 * 60
"""Minutes of all cards that are kept in memory while the database takes nothing."""


@dataclass(frozen=True)
class Period:
    """What a chart shows: ``seconds`` in all, in spans of ``span_s``, made of those of ``of_s``."""

    seconds: int
    span_s: int
    of_s: int


PERIODS = {
    "24h": Period(DAY_S, 300, MINUTE_S),
    "7d": Period(7 * DAY_S, 1800, QUARTER_S),
    "30d": Period(30 * DAY_S, 7200, QUARTER_S),
}


class CardHistory(Gathering[tuple[int, int], Span]):
    """What the cards showed."""

    def __init__(self, store: Store, began_at: float | None = None) -> None:
        """Begin at a time (UTC epoch seconds), now by default, with nothing to write."""
        super().__init__(store, _write, _note)
        began_at = time.time() if began_at is None else began_at
        self._flush_at = began_at + FLUSH_S

    def take(self, readings: Iterable[Reading], at: float) -> None:
        """Count in one look at the cards, ``at`` in UTC epoch seconds; now and then, write."""
        minute = int(at) // MINUTE_S * MINUTE_S
        with self._lock:
            for one in readings:
                span = _of(one, minute)
                if span is not None:
                    before = self._waiting.get((one.device, minute))
                    both = [span] if before is None else [before, span]
                    self._waiting[one.device, minute] = merge(both, MINUTE_S)[0]
            self._keep_newest(MOST_WAITING)
        # A clock that was set back must not stop the writing for hours.
        if at >= self._flush_at or at < self._flush_at - 2 * FLUSH_S:
            self._flush_at = at + FLUSH_S
            self.flush(minute)

    def spans(self, device: int, period: Period, now: float) -> list[Span]:
        """Give a device's spans up to ``now``, the oldest first; without those that have none.

        Raises:
            StoreFailed: the database cannot be read.
        """
        since = now // period.span_s * period.span_s - period.seconds + period.span_s
        with self._lock:
            waiting = [one for one in self._waiting.values() if one.device == device]

        def look(tables: Tables) -> list[Span]:
            found = {one.at: one for one in tables.card_history.of(device, period.of_s, since)}
            if period.of_s == MINUTE_S:
                found |= {one.at: one for one in waiting if one.at >= since}
            return merge(found.values(), period.span_s)

        return self._store.read_long(look)

    def use(self, span_s: int, shift: int, since: float) -> dict[tuple[int, int], float]:
        """Give how busy each device was, in percent, by device and by when a span begins.

        Out of whole quarters of an hour; ``shift`` is that of the zone, so that days begin at its
        midnight.

        Raises:
            StoreFailed: the database cannot be read.
        """
        return self._store.read_long(
            lambda tables: tables.card_history.use(QUARTER_S, span_s, shift, since)
        )


def _of(one: Reading, minute: int) -> Span | None:
    if one.unknown:
        return None
    values = {name: getattr(one, name) for name in METRICS}
    extents = {n: Extent(v, v, v) for n, v in values.items() if v is not None}
    if not one.health and not extents:
        return None
    return Span(one.device, MINUTE_S, minute, 1, one.health, one.memory_total, extents)


def _write(tables: Tables, spans: list[Span]) -> None:
    """Write minutes, join those of whole quarters of an hour, and forget what is old."""
    table = tables.card_history
    oldest = min(span.at for span in spans)
    newest = max(span.at for span in spans)
    table.add(spans)
    done = table.newest(QUARTER_S)
    # Also what was left open when a manager ended; and again what minutes were added to late.
    since = min(oldest, newest - KEPT_S[MINUTE_S] if done is None else done + QUARTER_S)
    since = since // QUARTER_S * QUARTER_S
    until = newest // QUARTER_S * QUARTER_S
    if since >= until:
        return
    table.add(merge(table.all_of(MINUTE_S, since, until), QUARTER_S))
    for seconds, kept_s in KEPT_S.items():
        table.prune(seconds, newest - kept_s)


def _note(problem: str) -> None:
    if problem:
        logger.error("cards: their history cannot be written: %s", problem)
    else:
        logger.info("cards: their history is written again")
