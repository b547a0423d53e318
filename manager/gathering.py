"""What is gathered in memory and written now and then: what the histories have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from manager.errors import ManagerError
from manager.store import Store, Tables


class Dated(Protocol):
    """Anything that has a beginning."""

    @property
    def at(self) -> int:
        """Give it, in UTC epoch seconds."""


Place = TypeVar("Place")
One = TypeVar("One", bound=Dated)


class Gathering(Generic[Place, One]):
    """Spans that wait to be written, by their place; the oldest come first."""

    def __init__(
        self,
        store: Store,
        write: Callable[[Tables, list[One]], None],
        note: Callable[[str], None],
    ) -> None:
        """Begin with none; ``note`` hears what is wrong when it changes, and then ``""``."""
        self._store = store
        self._write = write
        self._tell = note
        self._lock = threading.Lock()
        self._waiting: dict[Place, One] = {}
        self._problem = ""

    def flush(self, before: float = float("inf")) -> None:
        """Write the spans that began before a time; all of them at the end."""
        with self._lock:
            ready = {place: span for place, span in self._waiting.items() if span.at < before}
        if not ready:
            return
        try:
            self._store.write(lambda tables: self._write(tables, list(ready.values())))
        except ManagerError as error:
            self._note(str(error))
            return
        self._note("")
        with self._lock:
            for place, span in ready.items():
                # A look in the meantime may have counted on, or dropped the oldest.
                if self._waiting.get(place) is span:
                    del self._waiting[place]

    def _keep_newest(self, most: int) -> None:
        """Drop the oldest beyond ``most``; the lock is held."""
        while len(self._waiting) > most:
            del self._waiting[next(iter(self._waiting))]

    def _note(self, problem: str) -> None:
        if problem != self._problem:
            self._tell(problem)
            self._problem = problem
