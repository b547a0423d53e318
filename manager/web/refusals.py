"""Requests that were refused, in the log: one line each, and so many in a minute.

In the shape of the lines about logins, so that the same programs read them: the address, then in
brackets why, in a word of ours. Nothing stands in a line that a visitor has written: neither path
nor header nor name; where he wanted to go is said by the route's own name.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from flask import Flask, current_app, g, request

from manager import errors

logger = logging.getLogger(__name__)

REFUSED: Final = "request refused from %s (%s): user %s at %s %s"
MORE: Final = "%d more requests were refused in the minute before"
EXTENSION = "comfyui_manager_refusals"

WINDOW_S = 60.0
MOST = 60
MOST_OF_ONE = 10
"""Lines in that time, and of them of one address: a log that strangers can fill tells nothing."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

REASONS: Final = {"origin": "origin", "token_never": "token", "scope": "token"}
"""By an error's reason; any other of ``NotPermitted`` is a right that somebody has not."""


class Refusals:
    """Writes the lines of one application."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none; ``clock`` gives monotonic seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._since = float("-inf")
        self._written: Counter[str] = Counter()
        self._left_out = 0

    def note(self, why: str) -> None:
        """Write that the request under way is refused, unless there are too many."""
        address = request.remote_addr or "-"
        may, left_out = self._may(address)
        if left_out:
            logger.warning(MORE, left_out)
        if may:
            user = g.get("user")
            method = request.method if request.method in METHODS else "another method"
            name = request.endpoint or "no route"
            logger.warning(REFUSED, address, why, user.id if user else "nobody", method, name)

    def _may(self, address: str) -> tuple[bool, int]:
        with self._lock:
            left_out, now = 0, self._clock()
            if now - self._since >= WINDOW_S:
                left_out, self._left_out = self._left_out, 0
                self._since, self._written = now, Counter()
            may = self._written.total() < MOST and self._written[address] < MOST_OF_ONE
            if may:
                self._written[address] += 1
            else:
                self._left_out += 1
        return may, left_out


def init_app(app: Flask) -> None:
    """Begin to count."""
    app.extensions[EXTENSION] = Refusals()


def note(why: str) -> None:
    """Write that the request under way is refused."""
    found: Refusals = current_app.extensions[EXTENSION]
    found.note(why)


def note_error(error: errors.Refused) -> None:
    """Write it, if an error is of a kind that somebody may want to know of."""
    if isinstance(error, errors.NotPermitted):
        note(REASONS.get(error.reason or "", "right"))
    # Too many wrong tokens are a line already, of whoever counts them.
    elif isinstance(error, errors.TooManyAttempts) and "Authorization" not in request.headers:
        note("too often")
