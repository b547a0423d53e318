"""Old files of users: told on request, and with ``RETENTION_DAYS`` taken away once a day.

They go into the trash of the workspace first and for good a week later, so that a setting that was
wrong can be put right. Only where nothing of the user's runs: what his ComfyUI works with is never
touched. ``disk/sweeper.py`` does it, one workspace after the other, and is killed as soon as its
user starts something.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from manager import days
from manager.cards.reading import Unreadable
from manager.cards.tool import Tools
from manager.disk import sweeper
from manager.errors import ManagerError
from manager.launcher import account, runs
from manager.launcher.run_dir import RunDir
from manager.records import AuditEntry, User
from manager.runtime import offload
from manager.settings import Settings
from manager.store import Store

logger = logging.getLogger(__name__)

SWEEPER = Path(sweeper.__file__)
LIMIT_S = 600.0
KEEP_DAYS = 7
"""For so long files stay in the trash of the workspace."""

DAY_S = 86_400
HOUR = 4
"""Of the server's own day, from which on the daily run begins."""

LOOK_S = 600.0
ASK_S = 0.25
"""Between two questions whether the user has started something meanwhile."""

MANAGER = "manager"


@dataclass(frozen=True)
class Swept:
    """What was found with one user, in bytes and numbers of files.

    ``skipped`` says why nothing was looked at: ``runs``, ``failed``, or ``interrupted`` when the
    user began something and what is moved by then stays moved; empty when all is done.
    ``complete`` is false where something could not be looked at or moved.
    """

    user: User
    files: int = 0
    bytes: int = 0
    purged_files: int = 0
    purged_bytes: int = 0
    complete: bool = True
    skipped: str = ""


class Retention:
    """Looks for old files, and takes them away."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        touched: Callable[[int], None] = lambda _user_id: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Bind; ``touched`` is told whose files went, ``clock`` gives UTC epoch seconds."""
        self._settings, self._store = settings, store
        self._touched, self._clock = touched, clock
        self._stop = threading.Event()
        self._asked = (0.0, False)
        self._user_id = 0
        self._tools = Tools(LIMIT_S, stopping=self._must_stop)
        self._done_on = ""

    def run(self, stop: threading.Event) -> None:
        """Once a day, from four o'clock on, take away what is too old; only with the setting."""
        while self._settings.retention_days and not stop.is_set():
            self.daily()
            self._stop.wait(LOOK_S)

    def end(self) -> None:
        """Have the loop end, and a sweep that is under way."""
        self._stop.set()

    def daily(self) -> None:
        """Do what is due today, once."""
        now = self._clock()
        today = days.day_of(now)
        if today == self._done_on or time.localtime(now).tm_hour < HOUR:
            return
        try:
            for one in self.sweep(self._settings.retention_days, apply=True, by=MANAGER):
                logger.info("retention: %s: %s", one.user.username, said(one))
        except ManagerError as error:
            logger.warning("retention: not done today: %s", error)
        self._done_on = today

    def sweep(self, older_than: int, *, apply: bool, by: str) -> Iterator[Swept]:
        """Look at one user after the other.

        Args:
            older_than: days that a file must not have been touched.
            apply: move and remove; else only count.
            by: who has it done, for the audit.

        Raises:
            StoreFailed: the database cannot be used.
        """
        for user in self._store.read(lambda t: t.users.all()):
            if self._stop.is_set():
                return
            if user.workspace is not None:
                yield self._of_user(user, user.workspace, older_than, apply=apply, by=by)

    def _of_user(
        self, user: User, workspace: str, older_than: int, *, apply: bool, by: str
    ) -> Swept:
        path = self._settings.data_dir / "workspaces" / workspace
        if not path.is_dir():
            return Swept(user)
        if self._runs(user):
            return Swept(user, skipped="runs")
        found = self._swept(user, path, older_than, apply=apply)
        if apply and (found.files or found.purged_files or found.skipped == "interrupted"):
            entry = AuditEntry(self._clock(), by, "retention", user.username, said(found))
            self._store.write(lambda t: t.audit.add(entry))
            self._touched(user.id)
        return found

    def _swept(self, user: User, path: Path, older_than: int, *, apply: bool) -> Swept:
        now = self._clock()
        times = (now - older_than * DAY_S, now, KEEP_DAYS * DAY_S)
        how = "apply" if apply else "dry"
        command = (sys.executable, "-I", str(SWEEPER), str(path), *map(str, times), how)
        self._user_id, self._asked = user.id, (0.0, False)
        self._tools.begin()
        try:
            told = json.loads(self._tools.run(command))
            files, size, gone, freed = (int(told[name]) for name in COUNTED)
            whole = bool(told["complete"]) and not told["left"]
        except (Unreadable, ValueError, LookupError, TypeError) as error:
            logger.warning("retention: %s: %s", user.username, error)
            return Swept(user, skipped="interrupted" if apply else "failed")
        return Swept(user, files, size, gone, freed, whole)

    def _runs(self, user: User) -> bool:
        """Tell whether anything of a user's runs; also a launch that no row knows of any more."""
        if self._holds(user.id):
            return True
        folder = self._settings.data_dir / "runs"
        ours = account.accounts(self._settings.isolation_uid_base)
        try:
            living: list[str] = offload(runs.found, folder, ours)
        except OSError:
            # Nobody can tell.
            return True
        labels = [RunDir(folder / one).meta().get("labels") or {} for one in living]
        # Whose it is that has no name, nobody knows.
        return any(one.get("user_id") in {None, str(user.id)} for one in labels)

    def _holds(self, user_id: int) -> bool:
        return self._store.read(lambda t: t.ports.of_user(user_id)) is not None

    def _must_stop(self) -> bool:
        now = time.monotonic()
        if now - self._asked[0] >= ASK_S:
            self._asked = (now, self._holds(self._user_id))
        return self._stop.is_set() or self._asked[1]


COUNTED = ("files", "bytes", "purged_files", "purged_bytes")


def said(one: Swept) -> str:
    """Say in English, for log, audit and terminal, what was done or would be."""
    if one.skipped:
        return SKIPPED[one.skipped]
    words = f"{one.files} files, {one.bytes} bytes to the trash"
    if one.purged_files:
        words += f"; {one.purged_files} files, {one.purged_bytes} bytes out of it for good"
    return words if one.complete else f"{words}; not everything could be looked at or moved"


SKIPPED = {
    "runs": "left alone: a ComfyUI of this user runs",
    "failed": "cannot be told; see the log",
    "interrupted": "not finished; what was moved lies in the trash of the workspace",
}
