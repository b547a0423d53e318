"""What the watch counts of each session of use: worked, idle and unknown seconds, and prompts.

Kept in memory and handed over now and then to be written. Only what is new is handed over, so that
nothing is counted twice when the next manager goes on counting; one that is killed loses what it
had not handed over. No thread of its own.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from manager import days
from manager.comfyui import ComfyUI, QueueAnswer, Work
from manager.counts import Counted
from manager.records import Instance

LOOKS = (2, 16, 256)
"""How many entries of the history are asked for, until one is among them that is known.

Each carries its whole graph, 0.2 MB at worst.
"""


class Finished:
    """Which prompts of one launch have finished and are counted. Pure."""

    def __init__(self, last: str | None) -> None:
        """Begin with the newest prompt that is counted.

        Empty: none has finished yet. None: nobody counted so far, and what is there counts not.
        """
        self._last = last
        self._known: dict[str, None] = {}
        self._complete = last == ""

    def new(self, newest: Sequence[str], *, whole: bool) -> list[str] | None:
        """Give what has finished since the last time.

        Args:
            newest: the newest entries of the history, the newest last.
            whole: whether these are all, or all that will be asked for.

        Returns:
            None when more entries are needed to tell.
        """
        if not self._known and self._last != "":
            return self._take_up(newest, whole=whole)
        places = [place for place, one in enumerate(newest) if one in self._known]
        if not places and not whole:
            return None
        # What stands before a known one is older, whether this manager has counted it or another.
        fresh = list(newest[places[-1] + 1 :]) if places else list(newest)
        if not places and not self._complete:
            # Which of these an earlier manager counted cannot be told any more.
            fresh = []
        self._note(newest, whole=whole)
        return fresh

    def _take_up(self, newest: Sequence[str], *, whole: bool) -> list[str] | None:
        """Go on where another manager stopped; rather miss some than count one twice."""
        if self._last is not None and self._last in newest:
            fresh = list(newest[list(newest).index(self._last) + 1 :])
        elif self._last is not None and not whole:
            return None
        else:
            # Cleared meanwhile, or never counted: begin here.
            self._last, fresh = "", []
        self._note(newest, whole=whole)
        return fresh

    def _note(self, names: Iterable[str], *, whole: bool) -> None:
        self._complete = self._complete or whole
        self._known.update(dict.fromkeys(names))
        while len(self._known) > 2 * LOOKS[-1]:
            del self._known[next(iter(self._known))]


@dataclass
class _Sums:
    seconds: dict[Work, float] = field(default_factory=lambda: defaultdict(float))
    prompts: int = 0
    last_prompt: str | None = None


class Sitting:
    """One launch while it runs: the last answer, and what is not handed over yet, by days."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.work: Work | None = None
        self.answer: QueueAnswer | None = None
        self.at = 0.0
        self.worked_at: float | None = None
        # An earlier manager may not have counted all that has finished.
        self.look_due = True
        self.finished: Finished | None = None
        self.sums: dict[str, _Sums] = defaultdict(_Sums)

    def take(self, answer: QueueAnswer, now: float, day: str, longest_gap: float) -> None:
        """Count the time since the last answer as what that one said; doubt at an end is doubt.

        ``now`` is in monotonic seconds; more than ``longest_gap`` between two looks is unknown.
        """
        if self.work is not None:
            gap = now - self.at
            sure = Work.UNKNOWN not in (self.work, answer.work)
            known = min(gap, longest_gap) if sure else 0.0
            self._add(day, self.work, known)
            self._add(day, Work.UNKNOWN, gap - known)
        # The same bytes are the same answer; what has left the queue may have finished.
        if self.work is Work.BUSY and answer is not self.answer:
            self.look_due = True
        if answer.work is not Work.UNKNOWN:
            self.answer = answer
        self.work, self.at = answer.work, now

    def _add(self, day: str, work: Work, seconds: float) -> None:
        if seconds > 0:
            self.sums[day].seconds[work] += seconds

    def add_prompts(self, day: str, names: Sequence[str]) -> None:
        """Count finished prompts, the newest last."""
        if names:
            self.sums[day].prompts += len(names)
            self.sums[day].last_prompt = names[-1]


class Tally:
    """The counts of every launch that runs."""

    def __init__(
        self,
        comfyui: ComfyUI,
        last_prompt: Callable[[str], str | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Bind; ``last_prompt`` gives what is written of a launch, ``clock`` epoch seconds."""
        self._comfyui = comfyui
        self._last_prompt = last_prompt
        self._clock = clock
        self._lock = threading.Lock()
        self._sittings: dict[str, Sitting] = {}

    def take(self, row: Instance, answer: QueueAnswer, now: float, longest_gap: float) -> None:
        """Count an answer in, and the prompts that have finished since the one before."""
        with self._lock:
            sitting = self._sittings.setdefault(row.launch_id or "", Sitting())
            sitting.take(answer, now, days.day_of(self._clock()), longest_gap)
        if sitting.look_due and answer.work is not Work.UNKNOWN:
            sitting.look_due = not self._look(row, sitting)

    def worked(self, row: Instance, worked_at: float) -> None:
        """Count prompts that no look at the queue met: the history's newest stamp is another."""
        with self._lock:
            sitting = self._sittings.setdefault(row.launch_id or "", Sitting())
        if worked_at != sitting.worked_at and self._look(row, sitting):
            sitting.worked_at = worked_at

    def close(self, row: Instance) -> None:
        """Count what has finished since the last look; before an instance is told to end."""
        with self._lock:
            # None yet: its user ended it before the first look, and short jobs may have run.
            sitting = self._sittings.setdefault(row.launch_id or "", Sitting())
        if sitting.work is not Work.UNKNOWN:
            self._look(row, sitting)

    def _look(self, row: Instance, sitting: Sitting) -> bool:
        """Count what the history has new; tell whether it could be read."""
        if sitting.finished is None:
            sitting.finished = Finished(self._last_prompt(row.launch_id or ""))
        names: list[str] | None = None
        new: list[str] | None = None
        for most in LOOKS:
            fewer, names = names, self._comfyui.finished(row.address, row.secret, most)
            if names is None and fewer is None:
                return False
            # More than can be read: what could be is all there is.
            whole = names is None or len(names) < most or most == LOOKS[-1]
            new = sitting.finished.new(names if names is not None else fewer or (), whole=whole)
            if new is not None:
                break
        with self._lock:
            sitting.add_prompts(days.day_of(self._clock()), new or [])
        return True

    def hand_over(self, held: Collection[str | None] | None = None) -> list[Counted]:
        """Give what is not written yet and forget it, and every launch that is not in ``held``."""
        with self._lock:
            counted = [
                Counted(
                    launch_id,
                    day,
                    sums.seconds[Work.BUSY],
                    sums.seconds[Work.IDLE],
                    sums.seconds[Work.UNKNOWN],
                    sums.prompts,
                    sums.last_prompt,
                )
                for launch_id, sitting in self._sittings.items()
                for day, sums in sitting.sums.items()
            ]
            for sitting in self._sittings.values():
                sitting.sums.clear()
            for launch_id in self._sittings.keys() - set(self._sittings if held is None else held):
                del self._sittings[launch_id]
        return counted

    def take_back(self, counted: Iterable[Counted]) -> None:
        """Keep what could not be written, for the next time."""
        with self._lock:
            for one in counted:
                sums = self._sittings.setdefault(one.launch_id, Sitting()).sums[one.day]
                sums.seconds[Work.BUSY] += one.worked_seconds
                sums.seconds[Work.IDLE] += one.idle_seconds
                sums.seconds[Work.UNKNOWN] += one.unknown_seconds
                sums.prompts += one.prompts
                sums.last_prompt = sums.last_prompt or one.last_prompt
