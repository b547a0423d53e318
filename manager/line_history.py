"""The history of the waiting line: gathered in memory, written now and then, thinned with age.

A quarter of an hour in which somebody waited is written once, when it is over; those in which
nobody did are written with it, or twice a day: a machine at rest leaves its disk alone. Quarters
are kept for a month, two hours for a year and a bit. A loop of its own: neither the watch nor a
page waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from manager.errors import ManagerError
from manager.gathering import Gathering
from manager.records import Waiting
from manager.spans import LineSpan
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

LOOK_S = 15.0
QUARTER_S, LONG_S, DAY_S = 900, 7200, 86_400

KEPT_S = {QUARTER_S: 31 * DAY_S, LONG_S: 400 * DAY_S}
"""For how long spans of each length are kept."""

MOST_QUIET = 12 * 4
"""Quarters in which nobody waited that are kept in memory before they are written."""

MOST_WAITING = 24 * 4
"""Quarters that are kept in memory while the database takes nothing."""


@dataclass(frozen=True)
class Period:
    """What a chart shows: ``days`` in all, in spans of ``span_s``, made of those of ``of_s``."""

    days: int
    span_s: int
    of_s: int


PERIODS = {
    "7d": Period(7, 3600, QUARTER_S),
    "30d": Period(30, 7200, QUARTER_S),
    "90d": Period(90, 6 * 3600, LONG_S),
}


class LineHistory(Gathering[int, LineSpan]):
    """How long the line was."""

    def __init__(self, store: Store, line: Callable[[], Sequence[Waiting]]) -> None:
        """Bind; ``line`` lists who waits."""
        super().__init__(store, _write, _note)
        self._line = line

    def run(self, stop: threading.Event) -> None:
        """Look until told to stop."""
        while not stop.wait(LOOK_S):
            self.look(time.time())

    def look(self, at: float) -> None:
        """Count in one look, ``at`` in UTC epoch seconds; write the quarters that are over."""
        try:
            line = self._line()
        except ManagerError as error:
            self._note(str(error))
            return
        quarter = int(at) // QUARTER_S * QUARTER_S
        longest = max((at - one.joined_at for one in line), default=0.0)
        seen = LineSpan(QUARTER_S, quarter, 1, len(line), len(line), max(0.0, longest))
        with self._lock:
            before = self._waiting.get(quarter)
            self._waiting[quarter] = seen if before is None else before.joined(seen)
            self._keep_newest(MOST_WAITING)
            over = [span for begin, span in self._waiting.items() if begin < quarter]
        if len(over) > MOST_QUIET or any(span.length_high for span in over):
            self.flush(quarter)

    def spans(self, period: Period, now: float) -> list[LineSpan]:
        """Give the spans up to ``now``, the oldest first; without those of which nothing is known.

        Raises:
            StoreFailed: the database cannot be read.
        """
        since = now // period.span_s * period.span_s - period.days * DAY_S + period.span_s
        with self._lock:
            waiting = list(self._waiting.values())

        def look(tables: Tables) -> list[LineSpan]:
            table = tables.line_history
            found = table.of(period.of_s, since, period.span_s)
            if period.of_s != QUARTER_S:
                # And what is not thinned out yet.
                newest = table.newest(period.of_s)
                begin = since if newest is None else max(since, newest + period.of_s)
                found += table.of(QUARTER_S, begin, period.span_s)
            return found

        joined: dict[int, LineSpan] = {}
        for one in (*self._store.read_long(look), *waiting):
            longer = replace(one, seconds=period.span_s, at=one.at // period.span_s * period.span_s)
            if longer.at >= since:
                before = joined.get(longer.at)
                joined[longer.at] = longer if before is None else before.joined(longer)
        return [joined[at] for at in sorted(joined)]


def _write(tables: Tables, spans: list[LineSpan]) -> None:
    """Write quarters, join those of whole longer spans, and forget what is old."""
    table = tables.line_history
    newest = max(span.at for span in spans)
    table.add(spans)
    table.thin_out(QUARTER_S, LONG_S, newest // LONG_S * LONG_S)
    for seconds, kept_s in KEPT_S.items():
        table.prune(seconds, newest - kept_s)


def _note(problem: str) -> None:
    if problem:
        logger.error("the line's history cannot be kept: %s", problem)
    else:
        logger.info("the line's history is kept again")
