"""What the numbers behind the admins' charts cost after a year, against a bare sum over the days.

    venv/bin/python -m bench.charts_cost [--users 200] [--cards 16]

Fills a database with a year of that many people's sessions, a month of that many cards and a year
of the waiting line, then asks for each chart. Prints milliseconds, how many times the time of the
bare sum of the same days that is, and how many rows come back. Only ratios carry over to another
machine. None of it runs on the loop that serves pages.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sized
from pathlib import Path

from manager import days, line_history
from manager.card_history import DAY_S, QUARTER_S
from manager.spans import Extent, LineSpan, Span
from manager.store import Store
from manager.web.charts import CARD_SPAN_S, NAMED, PERIODS

ROUNDS = 5
YEAR_D = 365


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--cards", type=int, default=16)
    return parser.parse_args()


def fill(path: Path, users: int, cards: int, now: float) -> Store:
    """Write the year."""
    store = Store(path, 1)
    _sessions(path, users, now)
    _cards(store, cards, now)
    spans = [
        LineSpan(seconds, at, seconds // 15, seconds // 15, 3, 900.0)
        for seconds, kept_s in line_history.KEPT_S.items()
        for at in range((int(now) - kept_s) // seconds * seconds, int(now), seconds)
    ]
    store.write(lambda tables: tables.line_history.add(spans))
    return store


def _sessions(path: Path, users: int, now: float) -> None:
    chance = random.Random(1)
    today = days.day_of(now)
    usage, held = [], []
    for back in range(YEAR_D):
        day = days.earlier(today, back)
        at = days.begin_of(day)
        for user in range(1, users + 1):
            for number in range(chance.choice((0, 1, 1, 2, 3))):
                launch, seconds = f"{day}-{user}-{number}", chance.uniform(600, 14_400)
                usage.append((launch, user, f"user{user}", 8001, 1, at, at + seconds, "user"))
                held.append((launch, day, seconds, seconds * 0.6, seconds * 0.3))
    with sqlite3.connect(path) as connection:
        connection.executemany(
            "INSERT INTO usage (launch_id, user_id, username, port, card, started_at, ended_at, "
            "end_reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            usage,
        )
        connection.executemany(
            "INSERT INTO usage_days (launch_id, day, held_seconds, worked_seconds, idle_seconds) "
            "VALUES (?, ?, ?, ?, ?)",
            held,
        )
    connection.close()
    print(f"{len(usage)} sessions of {users} users in {YEAR_D} days")


def _cards(store: Store, cards: int, now: float) -> None:
    last = int(now) // QUARTER_S * QUARTER_S
    used = {"utilisation": Extent(0.0, 50.0, 100.0)}
    spans = [
        Span(device, QUARTER_S, at, 180, "ok", 1 << 36, used)
        for device in range(cards)
        for at in range(last - 31 * DAY_S, last, QUARTER_S)
    ]
    store.write(lambda tables: tables.card_history.add(spans))


def timed(work: Callable[[], Sized]) -> tuple[float, int]:
    """Give the middle one of some runs' milliseconds, and how many rows came."""
    took = []
    found: Sized = ()
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        found = work()
        took.append(1000 * (time.perf_counter() - begin))
    return statistics.median(took), len(found)


def measure(path: Path, store: Store, period: str, now: float) -> None:
    """Measure one period and print it."""
    since = days.earlier(days.day_of(now), PERIODS[period] - 1)
    begin = now - PERIODS[period] * DAY_S
    charts: dict[str, Callable[[], Sized]] = {
        "held": lambda: store.read(lambda t: t.totals.held_by_day(since, NAMED)),
        "held, all named": lambda: store.read(lambda t: t.totals.held_by_day(since, 100_000)),
        "worked": lambda: store.read(lambda t: t.totals.by("day", since)),
        "cards": lambda: store.read(
            lambda t: t.card_history.use(QUARTER_S, CARD_SPAN_S[period], 0, begin)
        ),
        "line": lambda: line_history.LineHistory(store, list).spans(
            line_history.PERIODS[period], now
        ),
    }
    with sqlite3.connect(path) as bare:
        question = "SELECT sum(held_seconds) FROM usage_days WHERE day >= ?"
        base, _ = timed(lambda: bare.execute(question, (since,)).fetchall())
    bare.close()
    print(f"{period}: bare sum {base:.1f} ms")
    for name, work in charts.items():
        took, rows = timed(work)
        print(f"  {name:16} {took:7.1f} ms  {took / base:6.1f} x  {rows:6} rows")


def main() -> None:
    """Fill, then measure each period."""
    options, now = arguments(), time.time()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "year.db"
        store = fill(path, options.users, options.cards, now)
        print(f"{path.stat().st_size / 1e6:.0f} MB")
        for period in PERIODS:
            measure(path, store, period, now)
        store.close()


if __name__ == "__main__":
    main()
