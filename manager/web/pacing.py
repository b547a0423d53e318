"""Who is told at once and who may wait, while the machine is busy.

At full speed everybody is told whenever something of his has changed. While the machine is busy, an
instance that has come to another state is still told at once; numbers that only count on, and all
the rest, wait for the next round. Nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping

from manager.web.house import Manager

ROUND_S = 1.0
"""Between two rounds at full speed; while the machine is busy, times the slowdown."""

NOTHING_TOLD = ("nothing told",)
"""In place of the state that a user was told, where none was: also one without an instance."""

States = Mapping[int, tuple[object, ...]]


class Pacing:
    """What has been told to whom, as far as it decides who is next."""

    def __init__(self, manager: Manager) -> None:
        """Begin at full speed, with nobody told."""
        self._manager = manager
        self._slowdown = 1
        self._waiting: set[int] = set()
        self._told: dict[int, tuple[object, ...] | None] = {}
        self._round_at = self._overview_at = float("-inf")
        self._overview: States = {}

    def changed(self) -> bool:
        """Look at the load, and tell whether pages have to say another thing of their own speed."""
        before, self._slowdown = self._slowdown, slowdown(self._manager)
        if before != self._slowdown:
            # At full speed nobody notes what was told.
            self._told.clear()
        return before != self._slowdown

    def due(self, now: float, users: set[int]) -> set[int]:
        """Give those who are told at ``now`` (monotonic seconds), of ``users`` and who waits."""
        self._waiting |= users
        told, states = self._waiting, self._states_of("user_id") if self._slowdown > 1 else {}
        if self._slowdown == 1 or now - self._round_at >= self._pause():
            self._round_at = now
        else:
            told = {u for u in told if states.get(u) != self._told.get(u, NOTHING_TOLD)}
        self._told |= {u: states.get(u) for u in told}
        self._waiting = self._waiting - told
        return told

    def overview_due(self, now: float) -> bool:
        """Tell whether it is time for the overview at ``now``; if so, that is taken as told."""
        if now - self._overview_at < ROUND_S:
            return False
        if self._slowdown > 1:
            states = self._states_of("port")
            if now - self._overview_at < self._pause() and states == self._overview:
                return False
            self._overview = states
        self._overview_at = now
        return True

    def _pause(self) -> float:
        return ROUND_S * self._slowdown

    def _states_of(self, key: str) -> States:
        return {
            getattr(row, key): (row.port, row.state, row.fault)
            for row in self._manager.lifecycle.instances()
        }


def slowdown(manager: Manager) -> int:
    """Say how many times more rarely than at full speed pages are updated; 1 is full speed."""
    load = manager.load.latest()
    return load.slowdown if load is not None else 1
