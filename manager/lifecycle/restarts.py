"""Whether and when a crashed instance is started again. Decides; ``lifecycle`` starts.

What has been restarted before is read from the sessions of use, so that the limit holds over a
restart of the manager. What is waiting is kept in memory alone: a manager that ends forgets it,
and the user starts by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from manager.lifecycle import reasons
from manager.records import Restart
from manager.settings import Settings

BACK_OFF_S = (5.0, 15.0, 45.0)
"""Waiting before the first, second and third restart; there is no fourth within the window."""

MOST = len(BACK_OFF_S)
WINDOW_S = 1800.0

GIVEN_UP = "given_up"
TAKEN = "taken"
MAINTENANCE = "maintenance"


def recent(starts: Iterable[float], now: float) -> int:
    """Count the automatic starts of the last ``WINDOW_S``.

    One that seems to lie ahead, because the clock was set back, counts.
    """
    return sum(1 for at in starts if at > now - WINDOW_S)


def deserves(
    settings: Settings, end: str, kind: str, *, was_ready: bool, was_restart: bool
) -> bool:
    """Tell whether an end of this sort is answered by a new start.

    A first start that fails is not: it would fail again. A restart that fails while it loads is,
    until there were enough: memory may not have been free again yet.
    """
    if end == "hung":
        return settings.hang_action == "restart"
    if end != "died" or settings.restart_policy == "never":
        return False
    return (was_ready or was_restart) and kind not in reasons.HOPELESS


@dataclass(frozen=True)
class Plan:
    """A restart that waits (``due`` in monotonic seconds), or why there is none any more."""

    user_id: int
    port: int
    due: float
    attempt: int
    over: str | None = None


class Restarts:
    """The plans, at most one a user, and when this manager carried one out."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Begin with none; ``monotonic`` gives seconds that only pass."""
        self.monotonic = monotonic
        self._plans: dict[int, Plan] = {}
        self._began: dict[int, list[float]] = {}
        self._lock = threading.Lock()

    def crashed(self, user_id: int, port: int, starts: Sequence[float], wall: float) -> Plan:
        """Plan the restart of what a user had on a port, or give it up.

        Two clocks are asked, and the one that saw more restarts counts: the stored times outlive
        the manager, and a clock that is set cannot reach the others.

        Args:
            user_id: whose it was.
            port: where it ran.
            starts: the user's automatic starts as stored, UTC epoch seconds.
            wall: the time now, UTC epoch seconds.
        """
        now = self.monotonic()
        with self._lock:
            done = max(recent(starts, wall), recent(self._began.get(user_id, ()), now))
            over = None if done < MOST else GIVEN_UP
            wait = 0.0 if over else BACK_OFF_S[done]
            plan = Plan(user_id, port, now + wait, done + 1, over)
            self._plans[user_id] = plan
        return plan

    def began(self, user_id: int) -> None:
        """Note that a plan was carried out."""
        with self._lock:
            now = self.monotonic()
            kept = [at for at in self._began.get(user_id, ()) if at > now - WINDOW_S]
            self._began[user_id] = [*kept, now]
            self._plans.pop(user_id, None)

    def of_user(self, user_id: int) -> Plan | None:
        """Give a user's plan."""
        return self._plans.get(user_id)

    def on_port(self, port: int) -> Plan | None:
        """Give the plan that waits for a port."""
        with self._lock:
            plans = list(self._plans.values())
        return next((plan for plan in plans if plan.port == port and not plan.over), None)

    def due(self) -> list[Plan]:
        """List the plans whose time has come."""
        now = self.monotonic()
        with self._lock:
            plans = list(self._plans.values())
        return [plan for plan in plans if not plan.over and plan.due <= now]

    def seconds_left(self, plan: Plan) -> float:
        """Say how long a plan still waits."""
        return max(0.0, plan.due - self.monotonic())

    def show(self, plan: Plan | None) -> Restart | None:
        """Put a plan into a record for the pages."""
        if plan is None:
            return None
        left = 0.0 if plan.over else self.seconds_left(plan)
        return Restart(plan.user_id, plan.port, left, plan.attempt, MOST, plan.over)

    def drop(self, user_id: int) -> bool:
        """Forget a user's plan; tell whether one was waiting."""
        with self._lock:
            plan = self._plans.pop(user_id, None)
        return plan is not None and not plan.over

    def lost(self, plan: Plan, over: str) -> None:
        """Note why a plan will not be carried out, unless the user changed it meanwhile.

        ``over`` is ``TAKEN``, its port went to somebody else, or ``MAINTENANCE``.
        """
        with self._lock:
            if self._plans.get(plan.user_id) == plan:
                self._plans[plan.user_id] = replace(plan, over=over)
