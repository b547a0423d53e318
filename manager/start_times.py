"""How long a start usually takes, by earlier ones. Pure; all times are seconds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

OWN_ENOUGH, ALL_ENOUGH = 3, 5
"""Starts from which something is said: a user's own, and those of all users."""

TAIL = 0.1
"""Part of the starts that is left out at each end; of a few, none."""

STEPS = ((15, 1), (120, 5))
"""Up to so many seconds they are rounded to so many; beyond, to whole minutes."""


@dataclass(frozen=True)
class Usual:
    """Between what most starts took. ``median`` is exact, ``low`` and ``high`` rounded outwards.

    ``count`` starts say so: the user's ``own``, or those of all users.
    """

    low: int
    high: int
    median: float
    count: int
    own: bool


def usual(own: Sequence[float], others: Sequence[float], longest: float) -> Usual | None:
    """Say how long a start usually takes; None where there are too few to say anything.

    Args:
        own: how long the user's last starts took.
        others: the same of all users, his own too.
        longest: a start that took more, or no time at all, was measured by a clock that was set.
    """
    for times, enough, mine in ((own, OWN_ENOUGH, True), (others, ALL_ENOUGH, False)):
        sound = sorted(one for one in times if 0 < one <= longest)
        if len(sound) >= enough:
            last = len(sound) - 1
            # Outwards: of a few starts none is left out.
            early, late = sound[math.floor(TAIL * last)], sound[math.ceil((1 - TAIL) * last)]
            low, high = _rounded(early, late)
            return Usual(low, high, statistics.median(sound), len(sound), mine)
    return None


def _rounded(low: float, high: float) -> tuple[int, int]:
    step = next((step for most, step in STEPS if high <= most), 60)
    late = max(1, math.ceil(high / step)) * step
    # Never a single number: that would sound like a promise.
    return min(math.floor(low / step) * step, late - step), late
