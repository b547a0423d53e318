"""What follows an unhappy end: a plan to start again, or the note that it was given up."""

from __future__ import annotations

import logging
from collections.abc import Callable

from manager.lifecycle.moves import Moves
from manager.lifecycle.restarts import WINDOW_S, Restarts, deserves
from manager.records import Instance, Restart
from manager.settings import Settings
from manager.store import Store, Tables

logger = logging.getLogger(__name__)


class Reviver:
    """Plans restarts for the instances of this manager; ``lifecycle`` carries them out."""

    def __init__(
        self, settings: Settings, store: Store, moves: Moves, monotonic: Callable[[], float]
    ) -> None:
        """Bind the rooms below."""
        self._settings = settings
        self._store = store
        self._moves = moves
        self.restarts = Restarts(monotonic)

    def ended(self, row: Instance, end: str, kind: str) -> None:
        """Answer the end of what ``row`` held; its port is free again.

        Args:
            row: as it was before the end.
            end: ``died`` or ``hung``.
            kind: of the reason, ``reasons.KINDS``.
        """
        user_id, launch_id = row.user_id, row.launch_id
        if user_id is None or launch_id is None:
            return
        wall = self._moves.clock()

        def look(t: Tables) -> tuple[bool, list[float]]:
            started = t.usage.automatic_starts(user_id, wall - WINDOW_S)
            return t.usage.was_automatic(launch_id), started

        was_restart, starts = self._store.read(look)
        was_ready = row.ready_at is not None
        if not deserves(self._settings, end, kind, was_ready=was_ready, was_restart=was_restart):
            return
        plan = self.restarts.crashed(user_id, row.port, starts, wall)
        if plan.over:
            logger.warning(
                "端口 %d: %s's ComfyUI was restarted %d times and crashed again; given up",
                row.port,
                row.username,
                plan.attempt - 1,
            )
        else:
            wait = self.restarts.seconds_left(plan)
            logger.info("端口 %d: restarts in %.0f s (attempt %d)", row.port, wait, plan.attempt)
        self._moves.tell(row.port, user_id)

    def cancel(self, user_id: int) -> bool:
        """Forget a user's plan; tell whether one was waiting."""
        plan = self.restarts.of_user(user_id)
        waited = self.restarts.drop(user_id)
        if plan is not None and waited:
            logger.info("端口 %d: the restart was cancelled", plan.port)
            self._moves.tell(plan.port, user_id)
        return waited

    def of_user(self, user_id: int) -> Restart | None:
        """Show a user's plan, or that it is over."""
        return self.restarts.show(self.restarts.of_user(user_id))

    def on_port(self, port: int) -> Restart | None:
        """Show the plan that waits for a port."""
        return self.restarts.show(self.restarts.on_port(port))
