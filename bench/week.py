"""People who want cards during a week, and how they behave; made up, but from a seed.

Weekdays have a curve with two peaks and a night, weekends little. Some people come far more often
than others. Sessions last a log-normal time; nearly half of them are left without a stop and end at
the idle limit. A quarter of the people have an assigned port, shared by several. Most see within
seconds that it is their turn, some are slow, some are away and miss it.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

HOUR = 3600.0
DAY = 24 * HOUR

WEEKDAY = (
    *(0.15, 0.08, 0.05, 0.03, 0.03, 0.05, 0.15, 0.4),
    *(1.0, 1.7, 2.0, 1.8, 1.1, 1.4, 2.1, 2.2),
    *(2.0, 1.7, 1.2, 0.9, 0.8, 0.7, 0.5, 0.3),
)
"""How much more or less than on average people come in each hour of a weekday; some 24 in all."""

WEEKEND = 0.2
"""A weekend's day beside a weekday."""

ASSIGNED = 0.25
LEFT_IDLE = 0.45
AWAY, SLOW = 0.1, 0.2
COMES_BACK = 0.6
"""How many of those who missed their turn try again."""

BOOT = (20.0, 60.0)
ENDING = 3.0


@dataclass(frozen=True)
class Wish:
    """Somebody who wants to work: ``at`` which second of the week, and how it will go.

    ``work`` lasts from when he is there to his last job's end; ``left_idle``: he will not press
    stop. ``patience`` is how long he waits in line. Chance for each attempt comes from ``seed``.
    """

    user: int
    at: float
    boot: float
    work: float
    left_idle: bool
    patience: float
    seed: str

    def hold(self, idle_limit: float) -> float:
        """Say how long he holds a card if he is there when he gets it."""
        return self.boot + self.work + (idle_limit if self.left_idle else 0.0) + ENDING

    def notices(self, attempt: int) -> float:
        """Say how many seconds after his turn has come he is there; infinite: not at all."""
        chance = random.Random(f"{self.seed} {attempt}")
        kind = chance.random()
        if kind < AWAY:
            return math.inf
        return chance.lognormvariate(math.log(75 if kind < AWAY + SLOW else 12), 0.7)

    def comes_back(self, attempt: int) -> float | None:
        """Say how long after a missed turn he tries again; None: not at all."""
        chance = random.Random(f"{self.seed} again {attempt}")
        if chance.random() > COMES_BACK:
            return None
        return chance.lognormvariate(math.log(15 * 60), 0.5)


@dataclass(frozen=True)
class Week:
    """What everybody wants, in order of time; ``ports`` gives the assigned port by user."""

    wishes: tuple[Wish, ...]
    ports: dict[int, int]


def week(
    seed: int, users: int, ports: list[int], days: int = 7, sessions_a_day: float = 1.6
) -> Week:
    """Make a week from a seed; the day 0 is a Monday."""
    chance = random.Random(seed)
    assigned = {user: chance.choice(ports) for user in range(users) if chance.random() < ASSIGNED}
    wishes = [
        _wish(chance, user, at)
        for user in range(users)
        for at in _arrivals(chance, days, sessions_a_day * chance.lognormvariate(-0.32, 0.8))
    ]
    return Week(tuple(sorted(wishes, key=lambda wish: wish.at)), assigned)


def _arrivals(chance: random.Random, days: int, a_day: float) -> list[float]:
    """Draw a Poisson process with the day's curve, by thinning."""
    highest = max(WEEKDAY)
    found: list[float] = []
    at = 0.0
    while True:
        at += chance.expovariate(a_day * highest / DAY)
        if at >= days * DAY:
            return found
        day, hour = int(at // DAY), int(at % DAY // HOUR)
        rate = WEEKDAY[hour] * (1.0 if day % 7 < 5 else WEEKEND)
        if chance.random() * highest < rate:
            found.append(at)


def _wish(chance: random.Random, user: int, at: float) -> Wish:
    return Wish(
        user=user,
        at=at,
        boot=chance.uniform(*BOOT),
        work=min(max(chance.lognormvariate(math.log(32 * 60), 0.9), 120.0), 8 * HOUR),
        left_idle=chance.random() < LEFT_IDLE,
        patience=chance.lognormvariate(math.log(2.5 * HOUR), 0.7),
        seed=f"{user} {at}",
    )
