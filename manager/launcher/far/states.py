"""How a launch of an engine is: what its files say, and only then what the engine said last.

See ``launcher.py`` for the rules. Nothing here asks the engine anything.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from manager.launcher.engine import JobState
from manager.launcher.far.beats import PATIENCE_S, Beats
from manager.launcher.far.begin import Begin
from manager.launcher.far.files import FarRun
from manager.launcher.far.jobs import Jobs
from manager.launcher.far.known import KnownRuns
from manager.launcher.protocol import Liveness, ProcessReport
from manager.runtime import offload

ASKED_AGAIN_S = 5.0
"""Who asks twice within this time waits for the launch; leftovers are looked at more rarely."""

SETTLE_AGAIN_S = 60.0

_GONE = ProcessReport(Liveness.GONE)
_UNKNOWN = ProcessReport(Liveness.UNKNOWN)
_OF_JOB = {JobState.QUEUED: Liveness.QUEUED, JobState.RUNNING: Liveness.ALIVE}


class States:
    """The states of one manager's launches."""

    def __init__(
        self,
        runs_dir: Path,
        known: KnownRuns,
        jobs: Jobs,
        begin: Begin,
        monotonic: Callable[[], float],
    ) -> None:
        """Bind."""
        self.beats = Beats(monotonic)
        self._runs_dir = runs_dir
        self._known = known
        self._jobs = jobs
        self._begin = begin
        self._monotonic = monotonic
        self._asked_at: dict[str, float] = {}
        self._look_after: dict[str, float] = {}
        self._placed: set[str] = set()

    def look(self, run: FarRun, *, begun: bool) -> ProcessReport:
        """Say how a launch is; ``begun``: this manager has submitted it.

        Raises:
            OSError: nobody can tell.
        """
        name = run.path.name
        if not offload(run.whole):
            return self._not_whole(run)
        if not offload(run.claimed):
            return self._unclaimed(run, name, begun=begun)
        if offload(run.called_off):
            return _GONE
        beat = offload(run.beat)
        self.beats.note(name, beat)
        fresh = self.beats.fresh(name)
        if offload(run.gone) and (not fresh or offload(run.ended)):
            return ProcessReport(Liveness.GONE, exit_code=offload(run.exit_code))
        self._note_place(run, name)
        if fresh:
            self._look_after.pop(name, None)
            return ProcessReport(Liveness.ALIVE)
        self.settle(run)
        return _UNKNOWN

    def forget(self, name: str) -> None:
        """Drop what is kept of a launch."""
        self.beats.forget(name)
        self._asked_at.pop(name, None)
        self._look_after.pop(name, None)
        self._placed.discard(name)

    def _not_whole(self, run: FarRun) -> ProcessReport:
        """Tell of a launch of which nothing was submitted, unless its files are only away."""
        if not offload(self._known.there):
            return _UNKNOWN
        if offload(run.begun_elsewhere) and not offload(run.gone):
            return _UNKNOWN
        return _GONE

    def _unclaimed(self, run: FarRun, name: str, *, begun: bool) -> ProcessReport:
        report = self._jobs.report(name)
        if report.state is JobState.ENDED:
            # Called off, it cannot begin any more, should the engine run it once again.
            why = report.why or "its job ended before it began"
            return _GONE if offload(run.call_off, why) else _UNKNOWN
        now = self._monotonic()
        asked_at = self._asked_at.get(name, float("-inf"))
        self._asked_at[name] = now
        awaited = begun or now - asked_at < ASKED_AGAIN_S
        if report.state is JobState.ABSENT and awaited:
            job = offload(run.job)
            if job is not None:
                self._jobs.lost(job)
        return ProcessReport(_OF_JOB.get(report.state, Liveness.UNKNOWN))

    def _note_place(self, run: FarRun, name: str) -> None:
        """Keep the engine's name of the node: it may have forgotten it when it is needed."""
        if name in self._placed:
            return
        report = self._jobs.report(name)
        if report.node is not None:
            if offload(run.placed) is None:
                offload(run.place, report.node)
            self._placed.add(name)

    def settle(self, run: FarRun) -> None:
        """Have a node looked at whose program for a launch has ended without its last word."""
        name = run.path.name
        now = self._monotonic()
        after = self._look_after.setdefault(name, now + PATIENCE_S)
        if now < after or self._jobs.report(name).state not in (JobState.ENDED, JobState.ABSENT):
            return
        node = offload(run.placed)
        if node is not None:
            self._look_after[name] = now + SETTLE_AGAIN_S
            job = f"settle-{secrets.token_hex(4)}"
            self._jobs.pass_by(self._begin.settling(self._runs_dir.resolve(), job, node))
