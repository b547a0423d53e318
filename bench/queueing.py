"""What queueing theory says of the same arrivals: one line, any card for everybody.

Nothing here knows the program. ``first_come`` is the recursion of Kiefer and Wolfowitz for a queue
with ``cards`` servers in which whoever's patience is shorter than his wait leaves unserved. Of all
rules that never let a card rest while somebody waits, interrupt nobody, and cannot know how long a
session will last, none is expected to have a lower mean wait, and none has less spread.
``shortest_first`` does know how long, and is a mark, not a bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Demand:
    """Somebody who comes ``at``, would hold a card for ``hold`` and waits ``patience``; seconds."""

    user: int
    at: float
    hold: float
    patience: float


def first_come(demands: Sequence[Demand], cards: int) -> list[float | None]:
    """Give each one's wait in seconds, in the order of arrival; None for who left unserved."""
    free_at = [0.0] * cards
    waits: list[float | None] = []
    for one in sorted(demands, key=lambda one: one.at):
        wait = max(0.0, free_at[0] - one.at)
        if wait > one.patience:
            waits.append(None)
            continue
        heapq.heapreplace(free_at, one.at + wait + one.hold)
        waits.append(wait)
    return waits


def shortest_first(demands: Sequence[Demand], cards: int) -> list[float | None]:
    """Give the same where of those who wait the shortest session goes first, told in advance."""
    arrivals = sorted(demands, key=lambda one: one.at)
    waits: list[float | None] = [None] * len(arrivals)
    free_at = [0.0] * cards
    waiting: list[tuple[float, int]] = []
    index = 0
    while index < len(arrivals) or waiting:
        now = free_at[0]
        if not waiting:
            now = max(now, arrivals[index].at)
        while index < len(arrivals) and arrivals[index].at <= now:
            heapq.heappush(waiting, (arrivals[index].hold, index))
            index += 1
        if not waiting:
            continue
        hold, who = heapq.heappop(waiting)
        wait = max(0.0, now - arrivals[who].at)
        if wait <= arrivals[who].patience:
            waits[who] = wait
            heapq.heapreplace(free_at, arrivals[who].at + wait + hold)
    return waits


def jain(values: Sequence[float]) -> float:
    """Give Jain's index of fairness: 1 when all are equal, 1/n when one has everything.

    R. Jain, D. Chiu, W. Hawe, "A Quantitative Measure of Fairness", DEC-TR-301, 1984.
    """
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0
