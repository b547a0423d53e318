"""The switch by which an admin lets the house run empty.

While it is on, nothing is started in any way: the scheduler gives out no port, see ``terms``. What
runs goes on to its own end, the line keeps its order, and nothing here ends anything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from manager.errors import BadInput, NotFound
from manager.lifecycle.moves import Publish
from manager.notices import Maintenance
from manager.records import AuditEntry, User
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

LONGEST_REASON = 300


class Switch:
    """Maintenance of one house; the operator's command uses it beside a manager at work."""

    def __init__(
        self,
        store: Store,
        publish: Publish = lambda _ports, _users: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Bind; ``clock`` gives UTC epoch seconds."""
        self._store = store
        self._publish = publish
        self._clock = clock

    def now(self) -> Maintenance | None:
        """Give what is in force."""
        return self._store.read(lambda t: t.maintenance.get())

    def begin(self, reason: str, until: float | None, *, by: User) -> Maintenance:
        """Give out no port from now on; once begun, say anew why and until when.

        Args:
            reason: one line that users read, or nothing.
            until: what is planned, UTC epoch seconds; it ends nothing by itself.
            by: who asks.

        Raises:
            BadInput: ``until`` has passed, or the reason is no short line.
        """
        now, reason = self._clock(), reason.strip()
        if until is not None and until <= now:
            raise BadInput("this time has passed", reason="until")
        if len(reason) > LONGEST_REASON or not reason.isprintable():
            raise BadInput("the reason is one short line", reason="reason", most=LONGEST_REASON)

        def work(t: Tables) -> Maintenance:
            before = t.maintenance.get()
            begun_at = before.begun_at if before else now
            after = Maintenance(by.username, begun_at, until, reason)
            t.maintenance.put(after)
            detail = f"until {until:.0f}" if until is not None else "open end"
            detail += f": {reason}" if reason else ""
            t.audit.add(AuditEntry(now, by.username, "maintenance_on", "house", detail))
            return after

        begun = self._store.write(work)
        logger.info("maintenance: on (%s); nothing is started any more", by.username)
        self._tell()
        return begun

    def end(self, *, by: User) -> None:
        """Give out ports again; the line goes on in its order.

        Raises:
            NotFound: it is not on.
        """

        def work(t: Tables) -> None:
            if not t.maintenance.remove():
                raise NotFound("there is no maintenance under way", reason="maintenance")
            t.audit.add(AuditEntry(self._clock(), by.username, "maintenance_off", "house"))

        self._store.write(work)
        logger.info("maintenance: off (%s)", by.username)
        self._tell()

    def _tell(self) -> None:
        users = self._store.read(lambda t: t.users.all())
        self._publish(frozenset(), frozenset(user.id for user in users))
