"""Until when a start or a stop may take, by a clock that nobody can set.

The deadline in the row is wall time: for people, and as a first estimate for a manager that finds
the row at its own start. What is decided by is kept here in monotonic seconds: a machine whose
clock jumps forward must not kill a start under way, one whose clock jumps back must not wait for
hours with a kill.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from manager.records import Instance
from manager.states import State

ADOPTED_GRACE_S = 10.0
"""Least time given to what an earlier manager began: the wall clock may have jumped meanwhile."""


class Deadlines:
    """The deadlines of the launches that start or stop now."""

    def __init__(
        self, wall: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Bind the two clocks: UTC epoch seconds, and seconds that only pass."""
        self._wall = wall
        self._monotonic = monotonic
        self._until: dict[tuple[str, State], float] = {}

    def begin(self, launch_id: str, state: State, seconds: float) -> float:
        """Set a launch's deadline for a state.

        Returns:
            The wall time to write into the row.
        """
        self._until[launch_id, state] = self._monotonic() + seconds
        return self._wall() + seconds

    def over(self, row: Instance, limit: float) -> bool:
        """Tell whether a row's time is over; ``limit`` is what its state is given at most."""
        key = (row.launch_id or "", row.state)
        now = self._monotonic()
        if key not in self._until:
            left = (row.deadline_at or 0.0) - self._wall()
            self._until[key] = now + min(max(left, ADOPTED_GRACE_S), limit)
        return now > self._until[key]

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch that has ended."""
        for state in State:
            self._until.pop((launch_id, state), None)
