"""A month of made-up card readings in a database, as a manager would have written them."""

from __future__ import annotations

import math
from pathlib import Path

from manager.card_history import DAY_S, MINUTE_S, QUARTER_S
from manager.spans import Extent, Span, merge
from manager.store import Store

GIB = 1 << 30
TOTAL = 64 * GIB
GAP_S = (4 * 3600, 9 * 3600)
"""How long ago, from and to, nothing was known of any card."""


def fill(database: Path, devices: int, until: float, days: int = 30) -> None:
    """Write ``days`` of quarters of an hour, and minutes for the last day, up to ``until``."""
    now = int(until) // MINUTE_S * MINUTE_S
    minutes = [
        one
        for device in range(devices)
        for at in range(now - DAY_S, now, MINUTE_S)
        if (one := _minute(device, at, now)) is not None
    ]
    quarters = [
        one
        for device in range(devices)
        for at in range(now - days * DAY_S, now - DAY_S, QUARTER_S)
        if (one := _minute(device, at, now)) is not None
    ]
    store = Store(database, 1)
    store.write(lambda tables: tables.card_history.add(minutes))
    joined = merge([*quarters, *minutes], QUARTER_S)
    store.write(lambda tables: tables.card_history.add(joined))
    store.close()


def _minute(device: int, at: int, now: int) -> Span | None:
    if GAP_S[0] <= now - at < GAP_S[1]:
        return None
    # A day's two peaks, and something of each minute's own.
    day = (at % DAY_S) / DAY_S
    busy = max(0.0, math.sin(day * 4 * math.pi - 1 + device)) * (0.7 + 0.3 * math.sin(at / 4000))
    wave = 0.5 + 0.5 * math.sin(at / 700)
    extents = {
        "memory_used": _around((3 + 44 * busy) * GIB, 1.5 * GIB * busy),
        "utilisation": _around(95 * busy * wave, 12 * busy, 100),
        "temperature": _around(38 + 30 * busy, 3 * busy + 0.5),
        "power": _around(90 + 260 * busy * wave, 30 * busy),
    }
    health = "warning" if device == 1 and busy > 0.9 else "ok"
    return Span(device, MINUTE_S, at, 12, health, TOTAL, extents)


def _around(mean: float, by: float, most: float = float("inf")) -> Extent:
    low, high = max(0.0, mean - by), min(most, mean + by)
    return Extent(low, min(high, mean), high)
