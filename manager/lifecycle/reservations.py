"""The ports that an admin keeps for some users, or takes out of use; and the scheduler's terms.

A reservation starts and ends nothing: what runs on the port goes on, and nobody else gets it after.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from manager.cards.sampler import Sampler
from manager.errors import BadInput, NotFound
from manager.lifecycle.moves import Publish
from manager.permits import Reservation
from manager.records import AuditEntry, User
from manager.settings import Settings
from manager.store import Store, Tables
from manager.terms import Terms

logger = logging.getLogger(__name__)

WARNING = "warning"
"""npu-smi's word for a card that works but should be looked after."""

LONGEST_REASON = 200


class Reservations:
    """The reserved ports of one manager."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        sampler: Sampler,
        publish: Publish,
        clock: Callable[[], float],
    ) -> None:
        """Bind; ``clock`` gives UTC epoch seconds."""
        self._settings = settings
        self._store = store
        self._sampler = sampler
        self._publish = publish
        self._clock = clock

    def all(self) -> Sequence[Reservation]:
        """List what is in force, by port."""
        return self._store.read(self._in_force)

    def _in_force(self, t: Tables) -> list[Reservation]:
        now = self._clock()
        return [one for one in t.reservations.all() if one.until is None or one.until > now]

    def _over(self, t: Tables) -> list[int]:
        now = self._clock()
        ends = ((one.port, one.until) for one in t.reservations.all())
        return [port for port, until in ends if until is not None and until <= now]

    def terms(self) -> Terms:
        """Give what the scheduler has to know beside what is free."""
        return self._store.read(self.terms_in)

    def terms_in(self, t: Tables) -> Terms:
        """Give the same inside a transaction."""
        states = {row.port: self._sampler.state(row.device) for row in self._settings.ports}
        known = {port: state.known for port, state in states.items() if state and state.known}
        seen = {port: state.reading.temperature for port, state in states.items() if state}
        return Terms(
            {one.port: one for one in self._in_force(t)},
            frozenset(port for port, one in known.items() if one.health == WARNING),
            {port: degrees for port, degrees in seen.items() if degrees is not None},
            maintenance=t.maintenance.get() is not None,
        )

    def reserve(
        self, port: int, user_ids: Collection[int], until: float | None, reason: str, *, by: User
    ) -> None:
        """Keep a port for some users; for nobody, take it out of use once what runs has ended.

        Args:
            port: a port of the table.
            user_ids: for whom.
            until: UTC epoch seconds; None until it is put back.
            reason: one line for admins and for the users concerned, or nothing.
            by: the admin.

        Raises:
            NotFound: there is no such port or user.
            BadInput: ``until`` has passed, the reason is no short line, or a user has another port.
        """
        if port not in {row.port for row in self._settings.ports}:
            raise NotFound("the table has no such port", reason="port")
        now = self._clock()
        if until is not None and until <= now:
            raise BadInput("this time has passed", reason="until")
        reason = reason.strip()
        if len(reason) > LONGEST_REASON or not reason.isprintable():
            raise BadInput("the reason is one short line", reason="reason", most=LONGEST_REASON)
        entry = Reservation(port, by.username, now, until, reason, frozenset(user_ids))

        def work(t: Tables) -> str:
            names = [_named(t, user_id, port) for user_id in sorted(entry.user_ids)]
            t.reservations.put(entry)
            detail = f"for {', '.join(names) or 'nobody'}"
            detail += f" until {until:.0f}" if until is not None else ""
            detail += f": {reason}" if reason else ""
            t.audit.add(AuditEntry(now, by.username, "port_reserve", f"port {port}", detail))
            return detail

        logger.info("端口 %d: reserved by %s %s", port, by.username, self._store.write(work))
        self._publish(frozenset({port}), frozenset())

    def put_back(self, port: int, *, by: User) -> None:
        """Give a port back to everybody.

        Raises:
            NotFound: it is not reserved.
        """

        def work(t: Tables) -> None:
            if not t.reservations.remove(port):
                raise NotFound("this port is not reserved", reason="reservation")
            t.audit.add(AuditEntry(self._clock(), by.username, "port_put_back", f"port {port}"))

        self._store.write(work)
        logger.info("端口 %d: put back by %s", port, by.username)
        self._publish(frozenset({port}), frozenset())

    def expire(self) -> None:
        """End the reservations whose time has come; the watch calls this at each round."""

        def work(t: Tables) -> list[int]:
            over = self._over(t)
            for port in over:
                t.reservations.remove(port)
                entry = AuditEntry(self._clock(), "manager", "port_put_back", f"port {port}")
                t.audit.add(entry)
            return over

        for port in self._store.write(work) if self._store.read(self._over) else ():
            logger.info("端口 %d: its reservation is over", port)
            self._publish(frozenset({port}), frozenset())


def _named(t: Tables, user_id: int, port: int) -> str:
    user = t.users.get(user_id)
    if user is None:
        raise NotFound("there is no such user", reason="user")
    if user.assigned_port not in (None, port):
        raise BadInput(
            f"{user.username} has another port", reason="reserve_port", username=user.username
        )
    return user.username
