"""How often somebody may try a password: per name and address, per name, and per address.

Counted before the password is looked at, so that many tries at once do not slip through. A name
alone has a generous limit: else anybody could lock its owner out.
"""

from __future__ import annotations

import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from manager.errors import TooManyAttempts

PER_PAIR = RateLimitItemPerMinute(6)
PER_NAME = RateLimitItemPerMinute(40)
PER_ADDRESS = RateLimitItemPerMinute(60)


class Throttle:
    """Counts tries in memory; a restart forgets them, which costs the password's hash time."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def attempt(self, username: str, address: str) -> None:
        """Count one try.

        Raises:
            TooManyAttempts: with the seconds until the next one is allowed.
        """
        waits = [
            self._wait(limit, *key)
            for limit, key in (
                (PER_PAIR, ("pair", username, address)),
                (PER_NAME, ("name", username)),
                (PER_ADDRESS, ("address", address)),
            )
            if not self._limiter.hit(limit, *key)
        ]
        if waits:
            seconds = max(waits)
            raise TooManyAttempts(
                f"too many attempts; try again in {seconds} s", retry_after=seconds
            )

    def succeeded(self, username: str, address: str) -> None:
        """Forget the wrong tries of somebody who then knew the password."""
        self._limiter.clear(PER_PAIR, "pair", username, address)

    def _wait(self, limit: RateLimitItem, *key: str) -> int:
        reset_at = self._limiter.get_window_stats(limit, *key).reset_time
        return max(1, math.ceil(reset_at - time.time()))
