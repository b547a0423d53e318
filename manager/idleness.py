"""The signs of use beside the queue, gathered for each instance, and the verdict on them.

What the gate and the card tell are moments: only a new one says anything, and then it lay after the
look before. So a clock that is set can neither hold a session nor end one. No thread, no loop.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from manager import cards, idle
from manager.cards.sampler import READERS, CardState, Sampler
from manager.gate.gate import Gate
from manager.idle import CARD, WORKSPACE, Evidence, Rules, Verdict
from manager.lifecycle import Lifecycle
from manager.records import Instance
from manager.settings import Settings
from manager.track import Track

AT_WORK_PERCENT = 10.0
"""Use of a card from which it computes; drivers show a few percent for nothing."""

STALE_FACTOR = 3
"""Looks at the cards that may be missed until what was seen of one is old."""


class Idleness:
    """Judges the instances of one watch."""

    def __init__(
        self,
        settings: Settings,
        lifecycle: Lifecycle,
        gate: Gate,
        sampler: Sampler,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Bind; ``wall`` gives UTC epoch seconds."""
        self._settings = settings
        self._rules = Rules.of(settings)
        self._grants = lifecycle.grants
        self._gate = gate
        self._sampler = sampler
        self._wall = wall
        has_tool = cards.kind_measured(settings) in READERS
        self._signals = {s for s in self._rules.signals if s != CARD or has_tool}
        interval = settings.card_sample_interval * settings.busy_slowdown
        self._stale_s = STALE_FACTOR * (interval + settings.card_tool_timeout)

    def look(self, row: Instance, track: Track, now: float) -> None:
        """Note what is to be seen at ``now`` (monotonic seconds)."""
        unknown = []
        if WORKSPACE in self._signals:
            used_at = self._gate.last_use(row.port)
            if used_at is None:
                unknown.append(WORKSPACE)
            else:
                self._take_use(row, track, used_at, now)
        if CARD in self._signals and not self._take_card(row, track, now):
            unknown.append(CARD)
        track.unknown_signals = tuple(unknown)

    def judge(self, track: Track, now: float) -> Verdict:
        """Say how an instance stands at ``now`` (monotonic seconds)."""
        return idle.judge(self._evidence(track, now), self._rules)

    def receipt(self, row: Instance, track: Track, now: float) -> dict[str, object] | None:
        """Look once more, at the moment of the stop.

        Returns:
            What the stop rests on, times in UTC epoch seconds; None when it must not be.
        """
        self.look(row, track, now)
        verdict = self.judge(track, now)
        if not verdict.over:
            return None
        wall = self._wall()
        seen = {signal: wall - (now - at) for signal, at in track.signs.items()}
        return {
            "at": round(wall),
            "limit": self._settings.idle_timeout,
            "idle_seconds": round(track.idle_seconds),
            "running": 0,
            "pending": 0,
            "worked_at": _whole(track.worked_at),
            "used_at": _whole(seen.get(WORKSPACE)),
            "card_at": _whole(seen.get(CARD)),
            "unknown": list(track.unknown_signals),
            "extensions": self._grants.of(row.launch_id or "").extensions,
        }

    def _evidence(self, track: Track, now: float) -> Evidence:
        held, holder = self._grants.held(track.launch_id or "")
        return Evidence(
            busy=bool(track.running or track.pending),
            answered=track.idle_seen_at is not None,
            idle=track.idle_seconds,
            ages={signal: max(0.0, now - at) for signal, at in track.signs.items()},
            unknown=track.unknown_signals,
            held=held,
            holder=holder,
        )

    def _take_use(self, row: Instance, track: Track, used_at: float, now: float) -> None:
        before = track.stamps.get(WORKSPACE)
        age = max(0.0, self._wall() - used_at)
        if before is None and used_at >= (row.started_at or 0.0):
            # Taken over from another manager, or just opened.
            track.signs[WORKSPACE] = now - age
        elif before is not None and used_at != before:
            track.signs[WORKSPACE] = now - min(age, now - track.looked_at)
        track.stamps[WORKSPACE] = used_at
        track.looked_at = now

    def _take_card(self, row: Instance, track: Track, now: float) -> bool:
        """Note whether the card computes for this instance; tell whether that can be told."""
        state = self._sampler.state(self._settings.row(row.port).device)
        if state is None or state.known is None or state.reading.unknown:
            return False
        if state.known_at != track.stamps.get(CARD):
            track.stamps[CARD], track.card_seen_at = state.known_at, now
            if at_work(state):
                track.signs[CARD] = now
        return state.known.utilisation is not None and now - track.card_seen_at < self._stale_s


def at_work(state: CardState) -> bool:
    """Tell whether a card that an instance holds computes for it, and surely for nobody else.

    Where the tool names no processes the card counts as the instance's, which alone was given it.
    """
    seen = state.known
    if seen is None or seen.utilisation is None or state.foreign or seen.processes == ():
        return False
    return seen.utilisation >= AT_WORK_PERCENT


def _whole(epoch: float | None) -> int | None:
    return None if epoch is None else round(epoch)
