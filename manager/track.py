"""What the watch remembers of one launch: its stage, its queue, and how long it has been idle.

Idle time is the sum of intervals between two answers that both said «idle». No thread, no I/O.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from manager.comfyui import QueueAnswer, Work
from manager.records import Instance
from manager.states import State

SILENT_AFTER = 3
"""Looks without an answer after which an instance is shown as not responding."""


@dataclass(frozen=True)
class Reading:
    """What the watch knows of an instance; times in seconds, ``checked_at`` in UTC epoch seconds.

    ``running`` and ``pending`` are the last known counts; ``idle_left`` is None while it does not
    count down. ``hung_since`` (UTC epoch seconds) tells how long one has been silent that is
    counted as hung by now.
    """

    port: int
    stage: str
    running: int | None
    pending: int | None
    idle_seconds: float
    idle_left: float | None
    responding: bool
    checked_at: float | None
    skipped: int
    hung_since: float | None = None


class Track:
    """What the watch remembers of one launch between looks."""

    def __init__(self, row: Instance, now: float) -> None:
        """Begin with what the row knows; an adopted instance keeps its idle time."""
        self.port = row.port
        self.launch_id = row.launch_id
        self.user_id = row.user_id
        self.state = row.state
        self.stage = "preparing" if row.state is State.STARTING else "ready"
        self.next_due = now
        self.in_flight = False
        self.skipped = 0
        self.silent = 0
        self.running: int | None = None
        self.pending: int | None = None
        self.idle_seconds = float(row.idle_count)
        self.idle_seen_at: float | None = None
        self.history_due = 0.0
        self.history_seen_at: float | None = None
        self.worked_at: float | None = None
        self.checked_at: float | None = None
        self.problem: str | None = None
        self.answered_at: float | None = None
        self.silent_seconds = 0.0
        self.silent_since: float | None = None

    def take(self, answer: QueueAnswer, now: float, longest_gap: float) -> bool:
        """Count an answer in; tell whether work has just begun."""
        if answer.work is Work.UNKNOWN:
            self._take_silence(now)
            return False
        self.answered_at, self.silent_seconds, self.silent_since = now, 0.0, None
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
        self.idle_seen_at = None
        if self.answered_at is None:
            # Taken over from another manager: nothing is known of the time before.
            self.answered_at = now
        if self.silent_since is None:
            self.silent_since = self.checked_at or time.time()
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

    def reading(self, idle_timeout: float, hang_timeout: float = 0) -> Reading:
        """Give what others may know; a ``hang_timeout`` of 0 calls nothing hung."""
        hung = 0 < hang_timeout <= self.silent_seconds
        ready = self.state is State.RUNNING
        counting = ready and self.idle_seen_at is not None
        return Reading(
            port=self.port,
            stage=self.stage,
            running=self.running,
            pending=self.pending,
            idle_seconds=self.idle_seconds,
            idle_left=max(0.0, idle_timeout - self.idle_seconds) if counting else None,
            responding=self.silent < SILENT_AFTER,
            checked_at=self.checked_at,
            skipped=self.skipped,
            hung_since=self.silent_since if hung else None,
        )
