"""In which order those who wait are served: priority, and how long they have waited. Pure.

Everybody counts as having come at his own moment, later by one ageing interval for each class
below the highest. So a higher class goes before who came up to that much earlier, and nobody waits
for more than those who came before he had waited out the difference: none starves. With the same
priority for all it is first come, first served.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence

from manager.records import Waiting

PRIORITIES = ("high", "normal", "low")
"""The classes, the first first."""


def in_order(line: Sequence[Waiting], waited: Mapping[int, float], ageing: float) -> list[Waiting]:
    """Put those who wait into the order in which they are served.

    Who has just had a session takes a place behind those who waited for its end already, whatever
    his priority.

    Args:
        line: who waits, who joined first first.
        waited: how many seconds each has waited, by the ``id`` of his row; by no clock that can be
            set.
        ageing: seconds of waiting that make up for one class.
    """
    if len({one.priority for one in line}) < 2:
        return list(line)
    came = -math.inf
    counts: list[float] = []
    # Of those up to each place: the last to join, and the most that anybody counts.
    joined: list[float] = []
    most: list[float] = []
    for one in line:
        # Nobody came before who stands before him, whatever the clocks say.
        came = max(came, -waited[one.id])
        count = came + PRIORITIES.index(one.priority) * ageing
        behind = bisect_left(joined, one.served_at) if one.served_at is not None else 0
        if behind:
            count = max(count, most[behind - 1])
        counts.append(count)
        joined.append(max(one.joined_at, joined[-1] if joined else one.joined_at))
        most.append(max(count, most[-1] if most else count))
    places = sorted(range(len(line)), key=lambda at: (counts[at], at))
    return [line[at] for at in places]
