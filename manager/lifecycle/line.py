"""The waiting line: who joins and leaves it, and whose turn it is.

Requests only write that somebody waits or does not. Whatever follows from that, from time and from
ports that become free, ``step`` does, which the watch calls. An offer keeps a port for one user;
until when is decided by a clock that nobody can set, as with every other deadline.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from manager import priorities, scheduler
from manager.errors import AlreadyRunning, NoFreeCard, NotFound, NotPermitted
from manager.lifecycle.moves import Moves
from manager.lifecycle.steps import Steps
from manager.records import AuditEntry, Instance, User, Waiting
from manager.settings import Settings
from manager.store import Store, Tables
from manager.terms import Terms

logger = logging.getLogger(__name__)

LOOKED_BACK = 100
"""Sessions that an estimate looks back on."""

ADOPTED_CLAIM_S = 60.0
"""Least time an earlier manager's offer is kept, if it was to be kept that long at all.

Nobody could take it while none ran, pages need seconds to come back, and people longer.
"""

UNDO_S = 20.0
"""How long who has left the line can have his place back; the page offers it for less."""

TELL_AGAIN_S = 30.0
"""Between two notices to those who wait: their estimate grows shorter while nothing happens."""


class Line:
    """The waiting line of one manager."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        moves: Moves,
        rows: Callable[[Tables], list[Instance]],
        steps: Steps,
    ) -> None:
        """Bind; ``rows`` reads the port table, ``wake`` is replaced by the lifecycle."""
        self._settings = settings
        self._store = store
        self._moves = moves
        self._rows = rows
        self._monotonic = steps.monotonic
        self._limits = steps.limits
        self._terms = steps.reservations.terms_in
        self._until: dict[int, float] = {}
        self._since: dict[int, float] = {}
        self._told: tuple[tuple[int, int | None], ...] = ()
        self._tell_due = 0.0
        self._left: dict[int, tuple[Waiting, float, float | None]] = {}
        self.wake: Callable[[], None] = lambda: None

    def join(self, user: User) -> None:
        """Put a user at the end of the line; who is in it stays where he is.

        Raises:
            AlreadyRunning: the user holds an instance.
            LimitReached: he may not start now.
            NoFreeCard: the user's own port no longer exists (``removed``).
            NotPermitted: the account was disabled or deleted.
        """

        def work(t: Tables) -> bool:
            if not self._may_join(t, user):
                return False
            t.line.join(user.id, self._moves.clock())
            self._audit(t, user.username, "line_join", user.username)
            return True

        if self._store.write(work):
            logger.info("%s waits in line", user.username)
            self.wake()

    def _may_join(self, t: Tables, user: User) -> bool:
        """Tell whether he is not in it yet; raises where he must not be."""
        now = t.users.get(user.id)
        if now is None or not now.is_active:
            raise NotPermitted("the account is disabled", reason="disabled")
        if t.ports.of_user(user.id):
            raise AlreadyRunning("your ComfyUI is running already")
        self._limits.check(t, user.id)
        ports = [row.port for row in self._settings.ports]
        if now.assigned_port not in (None, *ports):
            raise NoFreeCard("your port no longer exists", reason="removed", port=now.assigned_port)
        there = t.line.of_user(user.id)
        return there is None or there.missed_at is not None

    def take_back(self, user: User) -> None:
        """Give a user who has just left the line his old place; who is in it stays where he is.

        Raises:
            NotFound: he did not leave it himself, or longer ago than ``UNDO_S``.
            Refused: as for ``join``.
        """
        left, at, since = self._left.get(user.id, (None, 0.0, None))
        if left is None or self._monotonic() - at > UNDO_S:
            raise NotFound("your place in the line is gone", reason="line_place")

        def work(t: Tables) -> bool:
            if not self._may_join(t, user):
                return False
            t.line.put_back(left)
            self._audit(t, user.username, "line_join", user.username, "took back leaving")
            return True

        if since is not None:
            self._since.setdefault(left.id, since)
        self._left.pop(user.id, None)
        if self._store.write(work):
            logger.info("%s is back in his place in the line", user.username)
            self.wake()

    def leave(self, user_id: int, *, by: User) -> None:
        """Take a user out of the line.

        Raises:
            NotFound: an admin asks, and the user is not there; for the user himself it is no error.
        """

        def work(t: Tables) -> Waiting | None:
            there = t.line.of_user(user_id)
            if there is not None:
                t.line.remove(user_id)
                self._audit(t, by.username, "line_leave", there.username)
            return there

        left = self._store.write(work)
        if left is None and by.id != user_id:
            raise NotFound("this user is not in the line", reason="line")
        if left is not None:
            if by.id == user_id and left.missed_at is None:
                self._left[user_id] = (left, self._monotonic(), self._since.get(left.id))
            else:
                self._left.pop(user_id, None)
            logger.info("%s leaves the line (%s)", left.username, by.username)
            self._moves.publish(frozenset(), frozenset({user_id}))
            self.wake()

    def all(self) -> Sequence[Waiting]:
        """List who waits, who is served first first."""
        return self._store.read(self.waiting)

    def waiting(self, t: Tables) -> list[Waiting]:
        """List them inside a transaction."""
        line = t.line.waiting()
        now, wall = self._monotonic(), self._moves.clock()
        waited = {
            # Of an earlier manager's line, by a clock that may have been set meanwhile.
            one.id: now - self._since.setdefault(one.id, now - max(0.0, wall - one.joined_at))
            for one in line
        }
        return priorities.in_order(line, waited, self._settings.line_ageing)

    def of_user(self, user_id: int) -> Waiting | None:
        """Give a user's place, or that he missed his turn."""
        return self._store.read(lambda t: t.line.of_user(user_id))

    def lengths(self) -> Sequence[float]:
        """List how many seconds the last sessions lasted."""
        return self._store.read(lambda t: t.usage.lengths(LOOKED_BACK))

    def seconds_left(self, one: Waiting) -> float:
        """Say how long what is offered to somebody is still kept for him."""
        return max(0.0, self._due(one) - self._monotonic())

    def step(self, closed: Callable[[], Mapping[int, str]]) -> list[Waiting]:
        """Do what is due and tell those concerned; give those for whom a port is kept now.

        ``closed`` gives the ports that must not be given out, and why; asked if somebody waits.
        """
        waiting = list(self.all())
        if waiting:
            unavailable = closed()
            rows, terms = self._store.read(lambda t: (self._rows(t), self._terms(t)))
            if self._turns(rows, waiting, unavailable, terms):
                waiting = self._move(unavailable)
        self._forget_all_but(waiting)
        self._tell(waiting)
        return [one for one in waiting if one.offered_port is not None]

    def _turns(
        self,
        rows: Sequence[Instance],
        line: Sequence[Waiting],
        unavailable: Mapping[int, str],
        terms: Terms,
    ) -> scheduler.Turns:
        now = self._monotonic()
        offered = (one for one in line if one.offered_port is not None)
        late = {one.user_id for one in offered if self._due(one) < now}
        return scheduler.turns(rows, line, unavailable, late, terms)

    def _move(self, unavailable: Mapping[int, str]) -> list[Waiting]:
        wall = self._moves.clock()
        lasts = self._settings.claim_timeout

        def work(t: Tables) -> tuple[scheduler.Turns, list[Waiting], list[Waiting]]:
            before = self.waiting(t)
            found = self._turns(self._rows(t), before, unavailable, self._terms(t))
            names = {one.user_id: one.username for one in before}
            for user_id in found.missed:
                t.line.miss(user_id, wall)
                self._audit(t, "manager", "line_missed", names[user_id])
            for user_id in found.withdrawn:
                t.line.withdraw(user_id)
            for user_id, port in found.offered.items():
                t.line.offer(user_id, port, wall + lasts)
                self._audit(t, "manager", "line_offer", names[user_id], f"port {port}")
            return found, before, self.waiting(t)

        found, before, after = self._store.write(work)
        for one in before:
            if one.user_id in found.missed:
                logger.info("端口 %d: %s did not come in time", one.offered_port, one.username)
            if one.user_id in {*found.missed, *found.withdrawn, *found.offered}:
                self._until.pop(one.id, None)
        for one in after:
            if one.user_id in found.offered:
                self._until[one.id] = self._monotonic() + lasts
                logger.info(
                    "端口 %d: kept for %s, whose turn it is", one.offered_port, one.username
                )
        return after

    def _due(self, one: Waiting) -> float:
        if one.id not in self._until:
            # An earlier manager's offer, by a clock that may have been set meanwhile.
            limit = float(self._settings.claim_timeout)
            left = (one.claim_until or 0.0) - self._moves.clock()
            left = min(max(left, ADOPTED_CLAIM_S), limit)
            self._until[one.id] = self._monotonic() + left
        return self._until[one.id]

    def _forget_all_but(self, waiting: Sequence[Waiting]) -> None:
        offered = {one.id for one in waiting if one.offered_port is not None}
        for old in [one for one in self._until if one not in offered]:
            self._until.pop(old, None)
        there = {one.id for one in waiting}
        for old in [one for one in self._since if one not in there]:
            self._since.pop(old, None)

    def _tell(self, waiting: Sequence[Waiting]) -> None:
        """Tell everybody in the line, and who was, when it is another one; else now and then."""
        line = tuple((one.user_id, one.offered_port) for one in waiting)
        now = self._monotonic()
        if line == self._told and now < self._tell_due:
            return
        users = frozenset(user for user, _ in (*line, *self._told))
        ports = frozenset(port for _, port in (*line, *self._told) if port is not None)
        self._told, self._tell_due = line, now + TELL_AGAIN_S
        if users:
            self._moves.publish(ports, users)

    def _audit(self, t: Tables, actor: str, action: str, subject: str, detail: str = "") -> None:
        t.audit.add(AuditEntry(self._moves.clock(), actor, action, subject, detail))
