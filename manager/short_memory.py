"""Things kept in memory for some minutes and then forgotten; a restart forgets them all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

MOST = 4096
"""Of one kind; the oldest goes for one more."""

T = TypeVar("T")


class ShortMemory(Generic[T]):
    """Values by name, each for the same number of seconds."""

    def __init__(self, kept_s: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing; a clock that is set makes no difference."""
        self._kept_s = kept_s
        self._monotonic = monotonic
        self._values: dict[str, tuple[float, T]] = {}
        self._lock = threading.Lock()

    def put(self, name: str, value: T) -> None:
        """Keep a value, and forget those that are too old."""
        now = self._monotonic()
        with self._lock:
            self._values = {n: v for n, v in self._values.items() if now - v[0] < self._kept_s}
            if len(self._values) >= MOST:
                del self._values[next(iter(self._values))]
            self._values.pop(name, None)
            self._values[name] = (now, value)

    def get(self, name: str) -> T | None:
        """Give a value that is still kept."""
        return self._fresh(self._values.get(name))

    def take(self, name: str) -> T | None:
        """Give a value that is still kept, and forget it: nobody else is given it."""
        with self._lock:
            found = self._values.pop(name, None)
        return self._fresh(found)

    def _fresh(self, found: tuple[float, T] | None) -> T | None:
        return found[1] if found and self._monotonic() - found[0] < self._kept_s else None
