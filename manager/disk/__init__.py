"""What users' folders take on the disk: walked through now and then, remembered, shown at once.

One loop of its own has one user's folder after the other walked through by a process that stands
back (``walker.py``), and only where something may have changed: nothing does while no instance of
the user runs. What was found is kept in the database and in memory, where pages read it; no request
and no look of the watch waits for a disk.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from manager.cards.reading import Unreadable
from manager.cards.tool import Tools
from manager.counts import DiskCandidate, DiskUse
from manager.errors import ManagerError
from manager.settings import Settings
from manager.store import Store

logger = logging.getLogger(__name__)

WALKER = Path(__file__).with_name("walker.py")
LIMIT_S = 300.0
LOOK_S = 60.0
"""Between two looks at who is due."""

PAUSE_S = 5.0
"""Between two walks."""

SOON_S = 60.0
"""Between two walks after files were deleted, where a limit may keep the user from starting."""

UNSEEN_S = 6 * 3600.0
"""Between two walks for a user who works and does not look."""

SHARE = 20
"""A walk comes this many times its own length after the one before, at the soonest."""

AFTER_END_S = 120.0
"""So long after the end of an instance, or a deletion, files may still go."""

Measure = Callable[[Path], Mapping[str, Any]]


class DiskUses:
    """What each user's folders take."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        measure: Measure | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Bind, and read what an earlier manager found; ``clock`` gives UTC epoch seconds.

        ``changed`` is replaced by whoever wants to know whose figures are new.
        """
        self._workspaces = settings.data_dir / "workspaces"
        self._gap = float(settings.disk_use_interval)
        self._store = store
        self._clock = clock
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._known = {one.user_id: one for one in store.read(lambda t: t.disk_use.all())}
        self._asked: set[int] = set()
        self._touched: dict[int, float] = {}
        self._tried: dict[int, float] = {}
        self._limited = settings.disk_soft_limit > 0
        self.changed: Callable[[int], None] = lambda _user_id: None
        self._under_way: int | None = None
        self._problem = ""
        self._tools = Tools(LIMIT_S, stopping=self._stop.is_set)
        self._measure = measure or self._walk

    def of_user(self, user_id: int) -> DiskUse | None:
        """Give what was found last; None where nothing was yet."""
        return self._known.get(user_id)

    def is_under_way(self, user_id: int) -> bool:
        """Tell whether a user's folders are being walked through now."""
        return self._under_way == user_id

    @property
    def on(self) -> bool:
        """Whether anything is walked through at all."""
        return self._gap > 0

    def ask(self, user_id: int) -> None:
        """Take note that somebody looks at a user's figures; returns at once."""
        with self._lock:
            new = user_id not in self._asked
            self._asked.add(user_id)
        if new and user_id not in self._known:
            self._wake.set()

    def touch(self, user_id: int) -> None:
        """Take note that files of a user's were deleted without an instance; returns at once."""
        with self._lock:
            self._touched[user_id] = self._clock()

    def run(self, stop: threading.Event) -> None:
        """Look and walk until ``stop``; ``end`` wakes it."""
        while self.on and not stop.is_set():
            while not stop.is_set() and self.look():
                stop.wait(PAUSE_S)
            self._wake.wait(LOOK_S)
            self._wake.clear()

    def end(self) -> None:
        """Have a walk ended that is under way."""
        self._stop.set()
        self._wake.set()

    def look(self) -> bool:
        """Walk through the folders of whoever is due longest; tell whether there was anybody."""
        try:
            candidates = self._store.read_long(lambda t: t.disk_use.candidates())
            due = [one for one in candidates if self._due(one)]
            with self._lock:
                self._asked.clear()
            if not due:
                return False
            self._take(min(due, key=lambda one: self._tried_at(one.user_id)))
        except ManagerError as error:
            self._note(str(error))
            return False
        return True

    def _due(self, one: DiskCandidate) -> bool:
        """Tell whether a walk may find something new, and the last one is long enough ago."""
        now, known = self._clock(), self._known.get(one.user_id)
        tried = self._tried_at(one.user_id)
        least = SHARE * (known.seconds if known else 0.0)
        gap = max(self._gap, least)
        if self._limited and known and known.taken_at < self._touched.get(one.user_id, 0.0):
            # Who made room because he may not start is not to wait for it.
            gap = max(min(SOON_S, self._gap), least)
        if one.lasts and one.user_id not in self._asked:
            gap = max(gap, UNSEEN_S)
        # A clock that was set back must not end it for hours.
        if tried and 0 <= now - tried < gap:
            return False
        changed = max(one.used_at or 0.0, self._touched.get(one.user_id, 0.0)) + AFTER_END_S
        return known is None or one.lasts or known.taken_at <= changed

    def _tried_at(self, user_id: int) -> float:
        known = self._known.get(user_id)
        return max(self._tried.get(user_id, 0.0), known.taken_at if known else 0.0)

    def _take(self, one: DiskCandidate) -> None:
        began, started = self._clock(), time.monotonic()
        self._tried[one.user_id] = began
        self._under_way = one.user_id
        try:
            told = self._measure(self._workspaces / one.workspace)
            use = DiskUse(
                one.user_id,
                began,
                time.monotonic() - started,
                {str(name): int(size) for name, size in told["folders"].items()},
                bool(told["complete"]),
            )
        except (Unreadable, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            self._note(f"{one.workspace}: {error}")
            return
        finally:
            self._under_way = None
        self._store.write(lambda t: t.disk_use.put(use))
        self._known[one.user_id] = use
        self._note("")
        self.changed(one.user_id)

    def _walk(self, workspace: Path) -> Mapping[str, Any]:
        if not workspace.is_dir():
            return {"folders": {}, "complete": True}
        self._tools.begin()
        command = (sys.executable, "-I", str(WALKER), str(workspace))
        told: Mapping[str, Any] = json.loads(self._tools.run(command))
        return told

    def _note(self, problem: str) -> None:
        if problem != self._problem and not self._stop.is_set():
            if problem:
                logger.warning("disk use: cannot be told: %s", problem)
            else:
                logger.info("disk use: can be told again")
            self._problem = problem
