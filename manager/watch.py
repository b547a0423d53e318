"""The loop that looks at every held instance: queue each second, idle verdict, deadlines.

The schedule is a grid of the monotonic clock, spread over the interval, and does not drift; no load
of the machine stretches it. At most one look at an instance is under way; one that is still pending
when the next is due is skipped and counted. Instances whose last look timed out share a few of the
workers, so that hung ones never delay the others; their processes are looked at each time, but one
that goes on giving no answer is asked more rarely, until it gives one. Idle time is the
sum of intervals between two answers that both said «idle»: what is unknown neither counts nor
resets. The loop writes no state itself: ``lifecycle`` does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from manager.cards.sampler import Sampler
from manager.comfyui import ComfyUI, Work
from manager.counts import Counted
from manager.errors import LostRace, ManagerError
from manager.gate.gate import Gate
from manager.idleness import Idleness
from manager.lifecycle import Lifecycle
from manager.records import Instance
from manager.settings import Settings
from manager.states import State
from manager.tally import Tally
from manager.track import SLOTS, Reading, Track
from manager.upkeep import Upkeep

logger = logging.getLogger(__name__)

TRANSITION_WORKERS = 16
"""So many starts and stops are under way at once. Who waits for Caddy meanwhile shares its next
change with all others who do."""

FLUSH_INTERVAL_S = 30.0
HISTORY_INTERVAL_S = 15.0
"""Between two looks for jobs so short that no check met them."""


class Watch:
    """The loop; ``tick`` is one round and is what tests call."""

    def __init__(
        self,
        settings: Settings,
        lifecycle: Lifecycle,
        comfyui: ComfyUI,
        gate: Gate,
        sampler: Sampler,
        publish: Callable[[frozenset[int], frozenset[int]], None],
    ) -> None:
        """Bind the rooms below and make the bounded pools."""
        self._settings = settings
        self._lifecycle = lifecycle
        self._comfyui = comfyui
        self._upkeep = Upkeep(lifecycle, gate)
        self._publish = publish
        self._tracks: dict[int, Track] = {}
        self._idleness = Idleness(settings, lifecycle, gate, sampler)
        self._tally = Tally(comfyui, lifecycle.book.last_prompt)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._checks = ThreadPoolExecutor(settings.max_workers, "queue-check")
        self._moves = ThreadPoolExecutor(TRANSITION_WORKERS, "transition")
        self._suspects = max(1, settings.max_workers // 4)
        self._changed: set[int] = set()
        self._keeping_doors = False
        self._flush_due = 0.0
        self._publish_due = 0.0
        lifecycle.wake = self._wake.set
        self.late: Callable[[float], None] = lambda _seconds: None

    def reading(self, port: int) -> Reading | None:
        """Give what is known of the instance on a port; None when nobody holds it."""
        track = self._tracks.get(port)
        if track is None:
            return None
        verdict = self._idleness.judge(track, time.monotonic())
        return track.reading(verdict, self._settings.hang_timeout)

    def run(self, stop: threading.Event) -> None:
        """Look after everything until told to stop; then write what is known of idleness."""
        while not stop.is_set():
            self._wake.clear()
            now = time.monotonic()
            self._survive("a round of the watch failed", self.tick, now)
            self._wake.wait(max(0.005, self._next_due(now) - time.monotonic()))
        self._checks.shutdown(wait=True)
        self._moves.shutdown(wait=True)
        self._flush()

    def tick(self, now: float) -> None:
        """Begin what is due at ``now`` (monotonic seconds) and publish what has changed."""
        try:
            rows = self._lifecycle.holding()
        except ManagerError as error:
            logger.error("the watch cannot read the database: %s", error)  # noqa: TRY400
            return
        self._forget_all_but(rows)
        for row in rows:
            self._begin(row, now)
        self._survive("the line cannot be looked after", self._upkeep.serve_line)
        if now >= self._publish_due:
            self._publish_due = now + self._settings.queue_check_interval
            self._publish_changes()
            self._survive("restarts cannot be looked after", self._upkeep.restart_due)
            if not self._keeping_doors:
                self._keeping_doors = True
                self._moves.submit(self._keep_doors)
        if now >= self._flush_due:
            self._flush_due = now + FLUSH_INTERVAL_S
            self._flush()

    def _next_due(self, now: float) -> float:
        dues = [track.next_due for track in self._tracks.values()]
        return min([self._publish_due, now + self._settings.queue_check_interval, *dues])

    def _forget_all_but(self, rows: list[Instance]) -> None:
        held = {row.port: row.launch_id for row in rows}
        for port, track in list(self._tracks.items()):
            if held.get(port) != track.launch_id and not track.in_flight:
                del self._tracks[port]
                self._flush_due = 0.0

    def _begin(self, row: Instance, now: float) -> None:
        track = self._tracks.get(row.port)
        if track is None:
            track = self._tracks[row.port] = Track(row, now, self._emptiest_slot())
        if track.launch_id != row.launch_id:
            # The last look at the launch before is not over; this one waits for it.
            return
        if track.state is not row.state:
            track.enter(row.state, now)
            self._flush_due = now
        if now < track.next_due:
            return
        running = row.state is State.RUNNING
        if running:
            self.late(now - track.next_due)
            track.next_due = track.next_check(now, self._settings.queue_check_interval)
        else:
            track.next_due = track.next_look(now)
        if track.in_flight or (running and self._lane_full(track)):
            track.skipped += running
            return
        track.in_flight = True
        pool = self._checks if running else self._moves
        pool.submit(self._look, row, track)

    def _emptiest_slot(self) -> int:
        taken = Counter(track.slot for track in self._tracks.values())
        return min(range(SLOTS), key=taken.__getitem__)

    def _lane_full(self, track: Track) -> bool:
        if not track.silent or track.rest:
            # Without a question nothing waits.
            return False
        busy = sum(1 for t in self._tracks.values() if t.in_flight and t.silent)
        return busy >= self._suspects

    def _look(self, row: Instance, track: Track) -> None:
        before = track.stage
        self._survive(f"端口 {row.port}: the look failed", self._look_at, row, track)
        track.in_flight = False
        self._changed.add(row.port)
        if row.state is not State.RUNNING and track.stage != before:
            # It may have come to another state, which has things of its own to be done.
            self._wake.set()

    def _survive(self, what: str, work: Callable[..., None], *args: object) -> None:
        """Run ``work``; whatever breaks in it must not end the watch over everybody else."""
        try:
            work(*args)
        except Exception:  # the one catch-all of the program: a dead watch frees no card
            logger.exception("%s", what)

    def _look_at(self, row: Instance, track: Track) -> None:
        try:
            if row.state is State.STOPPING and track.stage == "ready":
                self._tally.close(row)
                # Before the port is free: whoever then reads the record finds all of it.
                self._write({}, self._tally.hand_over())
            stage = self._lifecycle.step(row)
            if stage == "ready" and row.state is State.RUNNING:
                self._check(row, track)
            if stage != track.stage:
                track.stage = stage
                self._publish(frozenset({row.port}), frozenset({track.user_id or 0}))
            self._note_problem(track, None)
        except LostRace:
            # Somebody else moved it meanwhile; the next look sees it as it is.
            return
        except ManagerError as error:
            self._note_problem(track, str(error))

    def _check(self, row: Instance, track: Track) -> None:
        if track.rests():
            track.note_silence(time.monotonic())
            self._lifecycle.stop_if_hung(row, track.silent_seconds)
            return
        answer = self._comfyui.queue(row.address, row.secret, fresh=True)
        now = time.monotonic()
        longest_gap = 2 * self._settings.queue_check_interval
        if track.take(answer, now, longest_gap):
            self._lifecycle.note_activity(row.launch_id or "")
        self._tally.take(row, answer, now, longest_gap)
        if answer.work is Work.UNKNOWN:
            self._lifecycle.stop_if_hung(row, track.silent_seconds)
        if answer.work is not Work.IDLE:
            return
        self._idleness.look(row, track, now)
        if now >= track.history_due or self._idleness.judge(track, now).over:
            track.history_due = now + HISTORY_INTERVAL_S
            self._count_short_jobs(row, track, now)
        # Whoever is over his time is asked once more too: what runs or waits goes on.
        if self._lifecycle.limits.is_over(row):
            track.take(self._lifecycle.stop_if_over(row), now, longest_gap)
        elif self._idleness.judge(track, now).over:
            last = self._lifecycle.stop_if_idle(row, lambda: self._receipt(row, track))
            track.take(last, now, longest_gap)

    def _receipt(self, row: Instance, track: Track) -> dict[str, object] | None:
        return self._idleness.receipt(row, track, time.monotonic())

    def _count_short_jobs(self, row: Instance, track: Track, now: float) -> None:
        worked_at = self._comfyui.last_work_at(row.address, row.secret)
        if worked_at is not None:
            track.take_history(worked_at, time.time(), now)
            self._tally.worked(row, worked_at)

    def _note_problem(self, track: Track, problem: str | None) -> None:
        if problem != track.problem:
            if problem:
                logger.error("端口 %d: %s", track.port, problem)
            else:
                logger.info("端口 %d: recovered from: %s", track.port, track.problem)
            track.problem = problem

    def _keep_doors(self) -> None:
        self._survive("the gates cannot be looked after", self._upkeep.keep_doors)
        self._survive("leftovers cannot be looked after", self._upkeep.look_around)
        self._keeping_doors = False

    def _publish_changes(self) -> None:
        changed, self._changed = self._changed, set()
        users = {t.user_id for t in self._tracks.values() if t.port in changed and t.user_id}
        if changed:
            self._publish(frozenset(changed), frozenset(users))

    def _flush(self) -> None:
        counts = {
            t.launch_id: int(t.idle_seconds)
            for t in self._tracks.values()
            if t.state is State.RUNNING and t.launch_id
        }
        held = {t.launch_id for t in self._tracks.values()}
        self._write(counts, self._tally.hand_over(held))

    def _write(self, counts: Mapping[str, int], counted: Sequence[Counted]) -> None:
        try:
            self._lifecycle.book.note(counts, counted)
        except ManagerError as error:
            self._tally.take_back(counted)
            logger.error("idle times could not be written: %s", error)  # noqa: TRY400
