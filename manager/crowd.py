"""How many connections one address has, so that no one address takes them all. Pure but for a log.

An address is what one subscriber is given: for IPv6 the network of 64 bits (RFC 6177), as whoever
has one address there has all of them.
"""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections import Counter

logger = logging.getLogger(__name__)

TELL_GAP_S = 60.0
"""Between two lines in the log about the same thing."""

SUBSCRIBER_BITS = 64


class Crowd:
    """Counts who is there; ``limit`` 0 lets in everybody."""

    def __init__(self, limit: int, what: str) -> None:
        """Begin with nobody. ``what`` names in the log what is counted."""
        self.limit = limit
        self._what = what
        self._there: Counter[str] = Counter()
        self._told_at = float("-inf")
        self._lock = threading.Lock()

    def enter(self, address: str) -> bool:
        """Let one more of this address in, or tell that there are too many already."""
        who = subscriber(address)
        with self._lock:
            full = 0 < self.limit <= self._there[who]
            if not full:
                self._there[who] += 1
        if full:
            self._tell(address)
        return not full

    def leave(self, address: str) -> None:
        """Take note that one that was let in has gone."""
        who = subscriber(address)
        with self._lock:
            self._there[who] -= 1
            if self._there[who] <= 0:
                del self._there[who]

    def _tell(self, address: str) -> None:
        now = time.monotonic()
        if now - self._told_at >= TELL_GAP_S:
            self._told_at = now
            logger.warning(
                "%s has %d %s at once, and gets no more; if it is a proxy of yours, see "
                "CONNECTIONS_PER_ADDRESS",
                address,
                self.limit,
                self._what,
            )


def subscriber(address: str) -> str:
    """Give whom an address counts for; what is no address counts for itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, SUBSCRIBER_BITS), strict=False))
