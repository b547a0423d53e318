"""Days as the people here count them: the server's own zone, from midnight to midnight. Pure.

A day is written ``2026-11-24``; times are UTC epoch seconds. Where the clocks change a day has 23
or 25 hours, and where that happens at midnight it may begin at one o'clock; nothing here supposes
otherwise. The zone is that of the process (``TZ`` or /etc/localtime).
"""

from __future__ import annotations

import datetime as dt
import time

LONGEST_DAY_S = 50 * 3600
"""More than any day has, also where the date line was moved."""


def day_of(at: float) -> str:
    """Give the day on which a moment lies."""
    return time.strftime("%Y-%m-%d", time.localtime(at))


def begin_of(day: str) -> float:
    """Give the first moment of a day."""
    date = dt.date.fromisoformat(day)
    noon = time.mktime((date.year, date.month, date.day, 12, 0, 0, 0, 0, -1))
    return _first(day, noon - LONGEST_DAY_S, noon + LONGEST_DAY_S)


def earlier(day: str, days: int) -> str:
    """Give the day that lies so many days before another."""
    return (dt.date.fromisoformat(day) - dt.timedelta(days=days)).isoformat()


def monday_of(day: str) -> str:
    """Give the day on which a day's week began."""
    return earlier(day, dt.date.fromisoformat(day).weekday())


def split(begin: float, end: float) -> list[tuple[str, float]]:
    """Cut a time into days, each with its seconds; one that ends before it begins has none."""
    pieces = []
    day, last = day_of(begin), day_of(end)
    while day < last:
        until = _next(begin)
        pieces.append((day, until - begin))
        begin, day = until, day_of(until)
    return [*pieces, (day, max(0.0, end - begin))]


def _next(at: float) -> float:
    """Give the first moment of the day after that of ``at``."""
    date = dt.date.fromisoformat(day_of(at)) + dt.timedelta(days=1)
    return _first(date.isoformat(), at, at + LONGEST_DAY_S)


def _first(day: str, before: float, after: float) -> float:
    """Find the first moment from which on it is ``day`` or later; zones change at whole seconds."""
    low, high = int(before), int(after) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if day_of(middle) < day else (low, middle)
    return float(high)
