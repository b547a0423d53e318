"""Backups that a running manager makes by itself, every ``BACKUP_EVERY_HOURS``.

It has the operator's own command do it, in a process of its own that stands back for everything
else; so what is in one, its mode and which older ones go are that command's. They lie in a folder
of their own: those that an operator or an upgrade made are never among the ones that go.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from manager.backup import make
from manager.cards.reading import Unreadable
from manager.cards.tool import Tools
from manager.settings import ROOT, Settings

logger = logging.getLogger(__name__)

FOLDER = "scheduled"
"""Below ``DATA_DIR/backups``."""

NICE = "nice"
"""nice(1)."""

COMMAND = (NICE, "-n", "19", sys.executable, str(ROOT / "comfyui_manager.py"), "backup")
LIMIT_S, GRACE_S = 3600.0, 5.0
FIRST_S, LOOK_S, RETRY_S = 600.0, 60.0, 1800.0
"""To the first one of a house that has none, between two looks, and after one that failed."""

HOUR_S = 3600.0


@dataclass(frozen=True)
class Last:
    """The newest backup: where it is and when it was made, in UTC epoch seconds."""

    path: Path
    at: float


@dataclass(frozen=True)
class Tried:
    """How the last try went that was not good: when, in UTC epoch seconds, and why."""

    at: float = 0.0
    problem: str = ""


def folder(settings: Settings) -> Path:
    """Say where they are."""
    return settings.data_dir / make.FOLDER / FOLDER


def newest(where: Path) -> Last | None:
    """Find the newest one in a folder; None where there is none, or nobody can tell."""
    try:
        paths = [path for path in where.iterdir() if make.GENERATED.fullmatch(path.name)]
        found = [Last(path, path.stat().st_mtime) for path in paths]
    except OSError:
        return None
    return max(found, key=lambda one: one.at, default=None)


def record(settings: Settings) -> Path:
    """Say where it stands that the last try failed, for the next manager and the doctor."""
    return settings.data_dir / "backup.json"


def tried(settings: Settings) -> Tried:
    """Read why the last try failed; without a problem where it did not."""
    try:
        return Tried(**json.loads(record(settings).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Tried()


class Scheduled:
    """Has backups made when they are due."""

    def __init__(
        self,
        settings: Settings,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; ``clock`` gives UTC epoch seconds. Begins no backup."""
        self._settings, self._command = settings, tuple(command)
        self._clock, self._monotonic = clock, monotonic
        self._stop = threading.Event()
        self._tools = Tools(LIMIT_S, stopping=self._stop.is_set, grace_s=GRACE_S)
        self._since = monotonic()
        self._not_before = 0.0
        self._problem = tried(settings).problem

    @property
    def problem(self) -> str:
        """Say why the last one failed; empty where it did not, and where none is asked for."""
        return self._problem if self._settings.backup_every_hours else ""

    def run(self, stop: threading.Event) -> None:
        """Make one whenever it is due, until ``stop``; ``end`` wakes it."""
        while self._settings.backup_every_hours and not stop.is_set():
            self.look()
            self._stop.wait(LOOK_S)

    def end(self) -> None:
        """Have the loop end, and a backup that is under way."""
        self._stop.set()

    def look(self) -> None:
        """Make one if it is due."""
        if self._due():
            self._make()

    def _due(self) -> bool:
        now = self._monotonic()
        every = self._settings.backup_every_hours * HOUR_S
        last = newest(folder(self._settings))
        if now < self._not_before:
            return False
        if last is None:
            return now - self._since >= FIRST_S
        age = self._clock() - last.at
        # One that lies in the future was made before the clock was set back: how long ago?
        return (age if age >= 0 else now - self._since) >= every

    def _make(self) -> None:
        where, keep = folder(self._settings), str(self._settings.backup_keep)
        self._tools.begin()
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
            told = self._tools.run((*self._command, str(where), "--keep", keep))
        except (Unreadable, OSError) as error:
            if not self._stop.is_set():
                self._failed(str(error).replace(self._command[0], "the command", 1))
            return
        self._since = self._monotonic()
        self._note(Tried())
        logger.info("backup: %s", told.strip().replace("\n", "; "))

    def _failed(self, why: str) -> None:
        self._not_before = self._monotonic() + RETRY_S
        logger.error("backup: none was made: %s", why)
        self._note(Tried(self._clock(), why))

    def _note(self, done: Tried) -> None:
        before, self._problem = self._problem, done.problem
        path = record(self._settings)
        draft = path.with_suffix(".new")
        try:
            if done.problem:
                draft.write_text(json.dumps(asdict(done)), encoding="utf-8")
                draft.replace(path)
            elif before:
                path.unlink(missing_ok=True)
        except OSError as error:
            # The next manager does not know of it, that is all.
            logger.warning("%s cannot be written: %s", path, error.strerror)
