"""How often somebody may try a password: per name and address, per name, and per address.

Of IPv6 an address is the /64 that one subscriber has all of.

Counted before the password is looked at, so that many tries at once do not slip through. A name
alone has a generous limit: else anybody could lock its owner out.
"""

from __future__ import annotations

import math
import time

from limits import (
    RateLimitItem,
    RateLimitItemPerDay,
    RateLimitItemPerHour,
    RateLimitItemPerMinute,
)
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from manager.crowd import subscriber
from manager.errors import TooManyAttempts

PER_PAIR = RateLimitItemPerMinute(6)
PER_NAME = RateLimitItemPerMinute(40)
PER_ADDRESS = RateLimitItemPerMinute(60)

CODES_PER_PAIR = RateLimitItemPerHour(20)
CODES_PER_NAME = RateLimitItemPerDay(100)
"""Of codes of six digits, of which three are right at a time: who knows the password has one chance
in 3,000 a day from anywhere, and one in 700 from where the owner comes from."""


class Throttle:
    """Counts tries in memory; a restart forgets them, which costs the password's hash time."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def attempt(self, username: str, address: str, *, known: bool = False) -> None:
        """Count one try; from an address ``known`` to be the owner's the name's limit is none.

        Else whoever tries the name from many addresses would keep its owner out.

        Raises:
            TooManyAttempts: with the seconds until the next one is allowed.
        """
        who = subscriber(address)
        limits = [(PER_PAIR, ("pair", username, who)), (PER_ADDRESS, ("address", who))]
        if not known:
            limits.append((PER_NAME, ("name", username)))
        _refuse_for(max(self._hit(limit, *key) for limit, key in limits))

    def attempt_code(self, username: str, address: str, *, known: bool = False) -> None:
        """Count one try of a phone's code, beside what ``attempt`` has counted; see there.

        Raises:
            TooManyAttempts: with the seconds until the next one is allowed.
        """
        _refuse_for(self._hit(CODES_PER_PAIR, "codes", username, subscriber(address)))
        if not known:
            # What the first refuses does not count here: it would only keep the owner waiting.
            _refuse_for(self._hit(CODES_PER_NAME, "codes", username))

    def attempt_from(self, address: str) -> None:
        """Count one try that names nobody.

        Raises:
            TooManyAttempts: with the seconds until the next one is allowed.
        """
        _refuse_for(self._hit(PER_ADDRESS, "address", subscriber(address)))

    def succeeded(self, username: str, address: str) -> None:
        """Forget the wrong tries of somebody who then knew the password."""
        self._limiter.clear(PER_PAIR, "pair", username, subscriber(address))

    def code_succeeded(self, username: str, address: str) -> None:
        """Forget the wrong codes of somebody who then knew the right one."""
        self._limiter.clear(CODES_PER_PAIR, "codes", username, subscriber(address))

    def _hit(self, limit: RateLimitItem, *key: str) -> int:
        """Count one try; give the seconds until it is allowed, 0 where it is."""
        if self._limiter.hit(limit, *key):
            return 0
        reset_at = self._limiter.get_window_stats(limit, *key).reset_time
        wait = max(1, math.ceil(reset_at - time.time()))
        if wait <= limit.get_expiry():
            return wait
        # No limit lasts so long: the clock was set back, and must lock nobody out until it is
        # again as late as it was.
        self._limiter.clear(limit, *key)
        self._limiter.hit(limit, *key)
        return 0


def _refuse_for(seconds: int) -> None:
    if seconds:
        raise TooManyAttempts(f"too many attempts; try again in {seconds} s", retry_after=seconds)
