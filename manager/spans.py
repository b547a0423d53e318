"""What a card showed over some time: the lowest, the mean and the highest of each value. Pure.

A value that was unknown all that time is None, and a time of which nothing is known has no span at
all: unknown is a gap, never zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

METRICS = ("memory_used", "utilisation", "temperature", "power")

HEALTHS = ("", "ok", "warning", "alarm", "critical")
"""From the best to the worst; of several the worst is kept."""


@dataclass(frozen=True)
class Extent:
    """How far a value went."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True)
class Span:
    """What a device showed for ``seconds`` from ``at`` on (UTC epoch seconds, whole).

    ``looks`` is how many looks said something, and what means are weighted by. ``extents`` holds
    those of ``METRICS`` that are known: memory in bytes, use in percent, temperature in degrees
    Celsius, power in watts.
    """

    device: int
    seconds: int
    at: int
    looks: int
    health: str
    memory_total: int | None
    extents: Mapping[str, Extent]


def merge(spans: Iterable[Span], seconds: int) -> list[Span]:
    """Join spans into longer ones of so many seconds, by device and time."""

    def place(span: Span) -> tuple[int, int]:
        return span.device, span.at // seconds * seconds

    ordered = sorted(spans, key=lambda span: (span.device, span.at))
    return [
        _joined(device, seconds, at, list(few)) for (device, at), few in groupby(ordered, key=place)
    ]


def _joined(device: int, seconds: int, at: int, few: list[Span]) -> Span:
    totals = [span.memory_total for span in few if span.memory_total is not None]
    extents = {name: one for name in METRICS if (one := _extent(few, name)) is not None}
    looks = sum(span.looks for span in few)
    health = worst(span.health for span in few)
    return Span(device, seconds, at, looks, health, totals[-1] if totals else None, extents)


def _extent(few: list[Span], name: str) -> Extent | None:
    found = [(span.looks, span.extents[name]) for span in few if name in span.extents]
    if not found:
        return None
    low, high = min(one.low for _, one in found), max(one.high for _, one in found)
    mean = sum(looks * one.mean for looks, one in found) / sum(looks for looks, _ in found)
    # The sum may be off by the last digit.
    return Extent(low, min(high, max(low, mean)), high)


def worst(healths: Iterable[str]) -> str:
    """Give the worst of some words for health; one that is not known counts as the least bad."""
    return max(healths, key=lambda one: HEALTHS.index(one) if one in HEALTHS else 0, default="")


@dataclass(frozen=True)
class LineSpan:
    """How long the waiting line was for ``seconds`` from ``at`` on (UTC epoch seconds, whole).

    ``length_sum`` is over all ``looks``; ``wait_high`` the longest that anybody had waited then, in
    seconds.
    """

    seconds: int
    at: int
    looks: int
    length_sum: int
    length_high: int
    wait_high: float

    @property
    def length_mean(self) -> float:
        """How many waited on average."""
        return self.length_sum / self.looks

    def joined(self, other: LineSpan) -> LineSpan:
        """Give both as one, with this one's time."""
        return LineSpan(
            self.seconds,
            self.at,
            self.looks + other.looks,
            self.length_sum + other.length_sum,
            max(self.length_high, other.length_high),
            max(self.wait_high, other.wait_high),
        )
