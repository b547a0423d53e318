"""What the manager knows of an engine's jobs, and what the engine is still to be told.

The engine is asked how all its jobs are in one question, at most once a second, whoever wants to
know, and never by whoever polls while ``run`` does it: an engine that is slow holds nobody up. What
was heard before the engine was last told of a job says nothing of that job. Orders that need no
answer are kept here too and given between two questions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from manager.errors import EngineSilent, LaunchFailed
from manager.launcher.engine import Engine, EngineFacts, Job, JobReport, JobState

logger = logging.getLogger(__name__)

LOOK_S = 1.0
PROBE_S = 15.0
OLD_S = 10.0
"""Age from which what the engine said last is no longer its answer."""

AGAIN_S = 5.0
"""Between two submissions of a job that got lost, or two cancellations of one that goes on."""

UNHEARD = JobReport(JobState.UNKNOWN, why="the engine does not answer")


@dataclass
class _Heard:
    begun_at: float = float("-inf")
    jobs: Mapping[str, JobReport] | None = None


@dataclass
class _Told:
    """``at`` is when the engine was last told something of a job, and had taken it."""

    at: float = float("-inf")
    tried_at: float = float("-inf")
    lost: Job | None = None
    cancel: bool | None = None
    passing: bool = False
    cancelled_at: float = field(default=float("-inf"))


class Jobs:
    """The jobs of one manager."""

    def __init__(self, engine: Engine, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Bind; nothing is asked yet."""
        self._engine = engine
        self._monotonic = monotonic
        self._heard = _Heard()
        self._told: dict[str, _Told] = {}
        self._forget: set[str] = set()
        self._facts: EngineFacts | None = None
        self._facts_at = float("-inf")
        self._asking = threading.Lock()
        self._runs = False

    def run(self, stop: threading.Event) -> None:
        """Ask the engine once a second until told to stop."""
        self._runs = True
        try:
            while not stop.wait(LOOK_S):
                self.tick()
        finally:
            self._runs = False

    def submit(self, job: Job) -> None:
        """Hand a job in; where the engine does not say whether it has it, it is done again.

        Raises:
            LaunchFailed: the engine refused it, and nothing of it will run.
        """
        told = self._told.setdefault(job.name, _Told())
        told.tried_at = self._monotonic()
        try:
            self._engine.submit(job)
            told.lost = None
        except EngineSilent as error:
            logger.warning("launch %s: %s; it is submitted again", job.name, error)
            told.lost = job
        finally:
            told.at = self._monotonic()

    def lost(self, job: Job) -> None:
        """Have a job submitted again that the engine does not know; not more often than needed."""
        self._told.setdefault(job.name, _Told()).lost = job

    def pass_by(self, job: Job) -> None:
        """Hand in a job of which nobody wants to know, and have it forgotten when it has ended."""
        self._told[job.name] = _Told(lost=job, passing=True)

    def cancel(self, name: str, *, force: bool) -> None:
        """Have the engine end a job, again and again while it goes on."""
        told = self._told.setdefault(name, _Told())
        told.lost, told.cancel = None, bool(force or told.cancel)

    def forget(self, name: str) -> None:
        """Have the engine forget a job that has ended."""
        self._told.pop(name, None)
        self._forget.add(name)

    def report(self, name: str) -> JobReport:
        """Say how a job is; ABSENT where the engine, asked after it was told, knows of none."""
        self.turn()
        heard, told = self._heard, self._told.get(name)
        now = self._monotonic()
        too_early = told is not None and heard.begun_at < told.at
        if heard.jobs is None or now - heard.begun_at > OLD_S or too_early:
            return UNHEARD
        return heard.jobs.get(name) or JobReport(JobState.ABSENT)

    def facts(self) -> EngineFacts | None:
        """Say what the engine and its nodes are, as heard last; None: it does not answer."""
        self.turn()
        return self._facts

    def turn(self) -> None:
        """Ask, and give orders, if that is due and no ``run`` does it."""
        if not self._runs and self._monotonic() - self._heard.begun_at >= LOOK_S:
            self.tick()

    def tick(self) -> None:
        """Ask once, and give the orders that are due; nothing where somebody does it already."""
        if not self._asking.acquire(blocking=False):
            return
        try:
            begun_at = self._monotonic()
            self._heard = _Heard(begun_at, self._engine.look())
            if begun_at - self._facts_at >= PROBE_S:
                self._facts, self._facts_at = self._engine.probe(), begun_at
            self._orders()
        finally:
            self._asking.release()

    def _orders(self) -> None:
        jobs = self._heard.jobs
        if jobs is None:
            return
        for name, told in list(self._told.items()):
            report = jobs.get(name) or JobReport(JobState.ABSENT)
            self._order(name, told, report.state)
        for name in list(self._forget):
            self._forget.discard(name)
            self._engine.forget(name)

    def _order(self, name: str, told: _Told, state: JobState) -> None:
        now = self._monotonic()
        if told.cancel is not None and state in (JobState.QUEUED, JobState.RUNNING):
            if now - told.cancelled_at >= AGAIN_S:
                told.cancelled_at = now
                self._engine.cancel(name, force=told.cancel)
        elif told.passing and state is JobState.ENDED:
            self.forget(name)
        elif told.lost is not None and now - told.tried_at >= AGAIN_S:
            job = told.lost
            if state is not JobState.ABSENT:
                told.lost = None
                return
            try:
                self.submit(job)
            except LaunchFailed as error:
                # Refused this time: whether the first one was taken is as unknown as before.
                logger.warning("launch %s: %s", name, error)
