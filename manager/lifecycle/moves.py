"""The one place where an instance changes its state.

A move is a compare-and-swap of the row, with the session of use and the audit in the same
transaction; after the commit come one log line and one call of ``publish``. Nothing else in the
program writes ``status``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from manager.gate.gate import new_token
from manager.records import AuditEntry, Instance, User
from manager.settings import Settings
from manager.states import HOLDS_PORT, Event, State, advance
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

Publish = Callable[[frozenset[int], frozenset[int]], None]
"""Called with the ports and the users concerned, after the commit."""

RELEASED: Mapping[str, object] = {
    "current_user_id": None,
    "current_username": None,
    "process_id": None,
    "token": None,
    "secret": None,
    "address": None,
    "deadline_at": None,
    "idle_count": 0,
}
"""What a row loses when its port is free again."""


def begun(user: User, launch_id: str, now: float) -> dict[str, object]:
    """Give what a row gets when a port is reserved for a user's new launch."""
    return {
        "current_user_id": user.id,
        "current_username": user.username,
        "launch_id": launch_id,
        "started_at": now,
        "ready_at": None,
        "stop_reason": None,
        "token": None,
        "address": None,
        "secret": new_token(),
    }


class Moves:
    """Moves rows of one store."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        publish: Publish,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Bind; ``clock`` gives UTC epoch seconds."""
        self._settings = settings
        self._store = store
        self.publish = publish
        self.clock = clock
        self.observe: Callable[[Instance, Instance], None] = lambda _before, _after: None

    def move(
        self,
        row: Instance,
        event: Event,
        values: Mapping[str, object] | None = None,
        *,
        actor: str = "manager",
    ) -> Instance:
        """Move a row and tell everybody.

        Raises:
            LostRace: the row has moved meanwhile; nothing is written.
            IllegalTransition: the state table does not know this move.
        """
        after = self._store.write(lambda t: self.apply(t, row, event, values, actor=actor))
        self.announce(row, after)
        return after

    def apply(
        self,
        t: Tables,
        row: Instance,
        event: Event,
        values: Mapping[str, object] | None = None,
        *,
        actor: str = "manager",
        evidence: str = "",
    ) -> Instance:
        """Do the move's writing inside a transaction that is under way.

        ``evidence`` is what the move rests on, for the audit.
        """
        now = self.clock()
        state = advance(row.state, event)
        written = dict(values or {})
        if state not in HOLDS_PORT:
            written = {**RELEASED, **written}
        after = t.ports.move(row.port, before=row.state, after=state, values=written)
        holder = after if after.user_id is not None else row
        if event is Event.ANSWERED and after.launch_id:
            t.usage.ready(after.launch_id, now)
        if state not in HOLDS_PORT and row.launch_id:
            t.usage.end(row.launch_id, now, after.stop_reason or "died", after)
            t.grants.remove(row.launch_id)
        detail = f"{row.state}->{state}"
        if event in (Event.STOP, Event.OVERDUE) or state is State.FAILED:
            detail += f" {after.stop_reason or 'died'}"
        subject = f"port {row.port} {holder.username or ''}".strip()
        detail = f"{detail} {evidence}".rstrip()
        t.audit.add(AuditEntry(now, actor, f"instance_{event}", subject, detail))
        return after

    def tell(self, port: int, user_id: int) -> None:
        """Publish that something about a port changed other than its state."""
        self.publish(frozenset({port}), frozenset({user_id}))

    def announce(self, before: Instance, after: Instance) -> None:
        """Log a committed move, have it counted, and publish it."""
        self.observe(before, after)
        holder = after if after.user_id is not None else before
        since = before.started_at if before.state in HOLDS_PORT else None
        seconds = f", {self.clock() - since:.1f} s after its start" if since else ""
        why = after.stop_reason if after.state in (State.STOPPING, State.FAILED) else None
        logger.info(
            "端口 %d 卡%d %s: %s -> %s%s%s",
            after.port,
            self._settings.row(after.port).card,
            holder.username,
            before.state,
            after.state,
            f" ({why})" if why else "",
            seconds,
        )
        users = {u for u in (before.user_id, after.user_id) if u is not None}
        self.publish(frozenset({after.port}), frozenset(users))
