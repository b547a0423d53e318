"""What the watch remembers of one launch: its stage, its queue, and how long it has been idle.

Idle time is the sum of intervals between two answers that both said «idle». No thread, no I/O.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from manager.comfyui import QueueAnswer, Work
from manager.idle import Verdict
from manager.records import Instance
from manager.states import State

SILENT_AFTER = 3
"""Questions without an answer after which an instance is shown as not responding."""

LONGEST_REST = 4
"""Checks from one question to the next at most, for one that goes on giving no answer."""

SLOTS = 8
"""Parts of the interval that checks are spread over: neither a crowd, nor a wake-up for each."""

LOOK_SOON_S, LOOK_LATE_S = 0.02, 0.1
"""Least and most between two looks at an instance that starts or stops, see ``next_look``."""

PART_OF_AGE = 20
"""A look is late by at most such a part of what the start or stop has taken already."""


@dataclass(frozen=True)
class Reading:
    """What the watch knows of an instance; times in seconds, ``checked_at`` in UTC epoch seconds.

    ``running`` and ``pending`` are the last known counts; ``idle_seconds`` is how long there was
    no work; the rest of ``idle`` as in ``Verdict``. ``hung_since`` (UTC epoch seconds) tells how
    long one has been silent that is counted as hung by now.
    """

    port: int
    stage: str
    running: int | None
    pending: int | None
    idle_seconds: float
    idle_left: float | None
    idle_by: str
    idle_warns: bool
    idle_unknown: tuple[str, ...]
    responding: bool
    checked_at: float | None
    skipped: int
    hung_since: float | None = None


class Track:
    """What the watch remembers of one launch between looks."""

    def __init__(self, row: Instance, now: float, slot: int = 0) -> None:
        """Begin with what the row knows; an adopted instance keeps its idle time.

        ``slot`` (below ``SLOTS``) says which part of each interval its checks begin with.
        """
        self.slot = slot
        self.port = row.port
        self.launch_id = row.launch_id
        self.user_id = row.user_id
        self.state = row.state
        self.state_since = now
        self.stage = "preparing" if row.state is State.STARTING else "ready"
        self.next_due = now
        self.in_flight = False
        self.skipped = 0
        self.silent = 0
        self.rest = 0
        self.running: int | None = None
        self.pending: int | None = None
        self.idle_seconds = float(row.idle_count)
        self.idle_seen_at: float | None = None
        self.history_due = 0.0
        self.history_seen_at: float | None = None
        self.worked_at: float | None = None
        self.signs: dict[str, float] = {}
        self.stamps: dict[str, float] = {}
        self.looked_at = self.card_seen_at = now
        self.unknown_signals: tuple[str, ...] = ()
        self.checked_at: float | None = None
        self.problem: str | None = None
        self.answered_at: float | None = None
        self.silent_seconds = 0.0
        self.silent_since: float | None = None

    def next_check(self, now: float, interval: float) -> float:
        """Give the next moment of its grid after ``now``, never more than ``interval`` away.

        The grid is the clock's own, not counted from look to look: nothing drifts, and after a
        stall of the whole manager it goes on where it would have been.
        """
        phase = interval * self.slot / SLOTS
        due = (math.floor((now - phase) / interval) + 1) * interval + phase
        return due if due > now else due + interval

    def enter(self, state: State, now: float) -> None:
        """Note another state; it is looked at now."""
        self.state, self.state_since, self.next_due = state, now, now

    def next_look(self, now: float) -> float:
        """Give when to look again at one that starts or stops.

        Soon at first, for there a moment is much of the whole; later more rarely, for there it is
        not. All look at the same moments, so that many cost one round of the loop.
        """
        gap = min(max((now - self.state_since) / PART_OF_AGE, LOOK_SOON_S), LOOK_LATE_S)
        return (math.floor((now + gap) / LOOK_SOON_S + 1e-6)) * LOOK_SOON_S

    def rests(self) -> bool:
        """Tell whether this check passes without a question; counts the check.

        One that gives no answer is asked at 1, 2, then each ``LONGEST_REST`` checks; one that
        answers at each.
        """
        if self.rest > 0:
            self.rest -= 1
            return True
        return False

    def take(self, answer: QueueAnswer, now: float, longest_gap: float) -> bool:
        """Count an answer in; tell whether work has just begun."""
        if answer.work is Work.UNKNOWN:
            self._take_silence(now)
            return False
        self.answered_at, self.silent_seconds, self.silent_since = now, 0.0, None
        self.rest = 0
        began = answer.work is Work.BUSY and not self.running and not self.pending
        self.silent = 0
        self.checked_at = time.time()
        self.running, self.pending = answer.running, answer.pending
        if answer.work is Work.BUSY:
            self.idle_seconds, self.idle_seen_at = 0.0, None
            return began
        if self.idle_seen_at is not None:
            self.idle_seconds += min(now - self.idle_seen_at, longest_gap)
        self.idle_seen_at = now
        return False

    def _take_silence(self, now: float) -> None:
        self.silent += 1
        # Shown as not responding as early as ever: only then are there rests.
        self.rest = min(LONGEST_REST, 2 ** max(0, self.silent - SILENT_AFTER)) - 1
        self.idle_seen_at = None
        if self.answered_at is None:
            # Taken over from another manager: nothing is known of the time before.
            self.answered_at = now
        if self.silent_since is None:
            self.silent_since = self.checked_at or time.time()
        self.note_silence(now)

    def note_silence(self, now: float) -> None:
        """Count how long there has been no answer."""
        if self.answered_at is not None:
            self.silent_seconds = now - self.answered_at

    def take_history(self, worked_at: float, wall: float, now: float) -> None:
        """Count in what the history says; ``worked_at`` and ``wall`` are UTC epoch seconds.

        Only a stamp that is new says anything, and then the job was after the last look: so a
        clock that was set back or forward can neither stretch nor end the idle time.
        """
        if worked_at != self.worked_at:
            seen_at = self.history_seen_at
            longest = self.idle_seconds if seen_at is None else now - seen_at
            self.idle_seconds = min(self.idle_seconds, max(0.0, wall - worked_at), longest)
        self.worked_at, self.history_seen_at = worked_at, now

    def reading(self, verdict: Verdict, hang_timeout: float = 0) -> Reading:
        """Give what others may know; a ``hang_timeout`` of 0 calls nothing hung."""
        hung = 0 < hang_timeout <= self.silent_seconds
        ready = self.state is State.RUNNING
        return Reading(
            port=self.port,
            stage=self.stage,
            running=self.running,
            pending=self.pending,
            idle_seconds=self.idle_seconds,
            idle_left=verdict.left if ready else None,
            idle_by=verdict.by if ready else "",
            idle_warns=ready and verdict.warns,
            idle_unknown=verdict.unknown if ready else (),
            responding=self.silent < SILENT_AFTER,
            checked_at=self.checked_at,
            skipped=self.skipped,
            hung_since=self.silent_since if hung else None,
        )
