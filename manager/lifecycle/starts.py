"""What reserves a port for somebody: a request, the waiting line, and a restart after a crash.

Each writes the row in one transaction and returns; the watch then starts what is wanted there.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping

from manager import scheduler, workspace
from manager.errors import AlreadyRunning, LimitReached, NoFreeCard, NotPermitted, Refused
from manager.gate.gate import Gate
from manager.lifecycle.ends import NO_FAULT
from manager.lifecycle.line import Line
from manager.lifecycle.moves import Moves, begun
from manager.lifecycle.restarts import MAINTENANCE, TAKEN, Plan
from manager.lifecycle.steps import Steps
from manager.records import Instance, User, Waiting
from manager.settings import Settings
from manager.states import Event, State
from manager.store import Store, Tables

logger = logging.getLogger(__name__)


def rows_of_table(settings: Settings, t: Tables) -> list[Instance]:
    """List the rows of the port table that the settings name, in their order."""
    rows = {row.port: row for row in t.ports.all()}
    return [rows[row.port] for row in settings.ports if row.port in rows]


def waited_for(place: Waiting | None, now: float) -> float:
    """Say how many seconds somebody has waited who starts now; who missed his turn waits not."""
    if place is None or place.missed_at is not None:
        return 0.0
    return max(0.0, now - place.joined_at)


class Starts:
    """The starts of one manager's instances."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        moves: Moves,
        steps: Steps,
        gate: Gate,
        unavailable: Callable[[], Mapping[int, str]],
    ) -> None:
        """Bind; ``unavailable`` gives the ports that are not given out, ``wake`` is replaced."""
        self._settings = settings
        self._store = store
        self._moves = moves
        self._steps = steps
        self._gate = gate
        self._unavailable = unavailable
        self._restarts = steps.reviver.restarts
        self.wake: Callable[[], None] = lambda: None
        self.shutting_down = False
        self._limits = steps.limits
        self._reservations = steps.reservations
        self.line = Line(settings, store, moves, self._rows, steps)
        self.line.wake = lambda: self.wake()

    def _rows(self, t: Tables) -> list[Instance]:
        return rows_of_table(self._settings, t)

    def start(self, user: User) -> Instance:
        """Reserve a port for a user's new instance; the watch starts it.

        Raises:
            NoFreeCard: none that the user may use is free, or Caddy is not running (``gate``).
            AlreadyRunning: the user holds one.
            LimitReached: what he is allowed is used up.
            NotPermitted: the account was disabled or deleted.
        """
        if self._no_gate():
            raise NoFreeCard("no workspace can be opened: Caddy is not running", reason="gate")
        before, after = self._store.write(lambda t: self._reserve(t, user.id))
        self._restarts.drop(user.id)
        self._moves.announce(before, after)
        self.wake()
        return after

    def serve_line(self) -> None:
        """See whose turn it is; the watch calls this at each round.

        With LINE_START = automatic whoever has got a port is started at once. A start that is
        refused is tried again for as long as the port is kept.
        """
        if self.shutting_down:
            return
        self._reservations.expire()
        for one in self.line.step(self._closed):
            if self._settings.line_start == "automatic":
                self._start_for(one)

    def restart_due(self) -> None:
        """Start what crashed and has waited long enough; the watch calls this each second."""
        for plan in [] if self.shutting_down else self._restarts.due():
            if self._gate.watch().running:
                self._restart(plan)

    def _no_gate(self) -> bool:
        # Better said before a start than after one that ends at a gate which does not open. A Caddy
        # that is only being begun will be there in time.
        gate = self._gate.watch()
        return bool(gate.problem) and not gate.running

    def _closed(self) -> Mapping[int, str]:
        if self._no_gate():
            # Nobody could take what he is offered: the line stands still, and nobody loses a place.
            return {row.port: "Caddy is not running" for row in self._settings.ports}
        return self._unavailable()

    def _start_for(self, one: Waiting) -> None:
        try:
            before, after = self._store.write(lambda t: self._reserve(t, one.user_id))
        except LimitReached as error:
            # Lowered while he waited and no manager ran: it is not his turn, but his page says why.
            self._store.write(lambda t: t.line.remove(one.user_id))
            logger.info("%s leaves the line: %s", one.username, error)
            self._moves.publish(frozenset(), frozenset({one.user_id}))
            return
        except Refused as error:
            logger.info("端口 %d: no start for %s: %s", one.offered_port, one.username, error)
            return
        self._restarts.drop(one.user_id)
        self._moves.announce(before, after)
        self.wake()

    def _restart(self, plan: Plan) -> None:
        try:
            before, after = self._store.write(
                lambda t: self._reserve(t, plan.user_id, restart_on=plan.port)
            )
        except NoFreeCard as error:
            # What cannot be served just now is tried again; what somebody else has is not.
            # Under maintenance the house is to run empty, and afterwards the line comes first.
            if error.reason != "unavailable":
                over = MAINTENANCE if error.reason == "maintenance" else TAKEN
                self._restarts.lost(plan, over)
                self._moves.tell(plan.port, plan.user_id)
        except (AlreadyRunning, LimitReached, NotPermitted):
            self._restarts.drop(plan.user_id)
        else:
            self._restarts.began(plan.user_id)
            self._moves.announce(before, after)
            self.wake()

    def _reserve(
        self, t: Tables, user_id: int, restart_on: int | None = None
    ) -> tuple[Instance, Instance]:
        user = t.users.get(user_id)
        if user is None or not user.is_active:
            raise NotPermitted("the account is disabled", reason="disabled")
        if t.ports.of_user(user.id):
            raise AlreadyRunning("your ComfyUI is running already")
        self._limits.check(t, user.id)
        if restart_on is not None and user.assigned_port not in {None, restart_on}:
            raise NoFreeCard("the account has another port by now", reason="removed")
        row = self._choose(t, user, restart_on)
        now = self._moves.clock()
        waited = waited_for(t.line.of_user(user.id), now)
        t.line.remove(user.id)
        if user.workspace is None:
            t.users.set_workspace(user.id, workspace.folder_name(user.id, user.username))
        launch_id = secrets.token_hex(8)
        card = self._settings.row(row.port).card
        automatic = restart_on is not None
        t.usage.begin(launch_id, user, row.port, card, now, automatic=automatic, waited=waited)
        limit = self._settings.start_timeout
        deadline = self._steps.deadlines.begin(launch_id, State.STARTING, limit)
        reserved = {**begun(user, launch_id, now), **NO_FAULT, "deadline_at": deadline}
        actor = "manager" if restart_on else user.username
        return row, self._moves.apply(t, row, Event.START, reserved, actor=actor)

    def _choose(self, t: Tables, user: User, restart_on: int | None) -> Instance:
        rows, closed = self._rows(t), self._unavailable()
        terms = self._reservations.terms_in(t)
        given = scheduler.allot(rows, self.line.waiting(t), closed, terms)
        mine = next((port for port, waits in given.items() if waits == user.id), None)
        kept = given.keys() - {mine}
        wanted = mine or restart_on or user.assigned_port
        return scheduler.choose(rows, wanted, closed, kept, terms, user.id)
