"""The only room that moves an instance between states: start, stop, step, recover.

Requests write an intent and return; the watch calls ``step`` for everything that takes time.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from manager import scheduler, workspace
from manager.errors import (
    AlreadyRunning,
    NoFreeCard,
    NotFound,
    NotPermitted,
    NotRunning,
    SettingsError,
)
from manager.gate.gate import Gate, new_token
from manager.gate.opening import Opening
from manager.launcher.protocol import Launcher
from manager.lifecycle.doors import wanted_openings
from manager.lifecycle.ends import NO_FAULT
from manager.lifecycle.leftovers import Leftovers
from manager.lifecycle.moves import Moves
from manager.lifecycle.restarts import Plan
from manager.lifecycle.steps import Steps
from manager.records import Instance, Node, Usage, User
from manager.settings import Settings
from manager.states import HOLDS_PORT, STOPPABLE, Event, State
from manager.store import Store, Tables


class Lifecycle:
    """Starts, stops and looks after the instances of one manager."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        moves: Moves,
        steps: Steps,
        launcher: Launcher,
        gate: Gate,
    ) -> None:
        """Bind; ``wake`` is replaced by the watch, to be told of new work at once."""
        self._settings = settings
        self._store = store
        self._moves = moves
        self._steps = steps
        self._launcher = launcher
        self._gate = gate
        self.wake: Callable[[], None] = lambda: None
        self.step = steps.step
        self.stop_if_idle = steps.stop_if_idle
        self.stop_if_hung = steps.stop_if_hung
        self.restart_of = steps.reviver.of_user
        self.restart_on = steps.reviver.on_port
        self.cancel_restart = steps.reviver.cancel
        self._restarts = steps.reviver.restarts
        self._shutting_down = False
        self.keep_doors = steps.doors.reconcile
        self.quarantine = steps.quarantine
        self.leftovers = Leftovers(settings, store, launcher, moves.clock)

    def recover(self) -> list[Instance]:
        """Make the rows fit the port table and give those that are held from before.

        Raises:
            SettingsError: the table lacks a port that somebody's instance holds.
        """
        ports = [row.port for row in self._settings.ports]

        def work(t: Tables) -> list[Instance]:
            t.ports.ensure(ports)
            return t.ports.holding()

        held = self._store.write(work)
        self.quarantine.load()
        self.look_around()
        for row in held:
            if row.port not in ports:
                raise SettingsError(
                    f"PORTS lacks {row.port}, which {row.username}'s ComfyUI holds; put the row "
                    "back, or end the instance with ./start_manager.sh stop before removing it"
                )
        return held

    @property
    def unavailable(self) -> dict[int, str]:
        """Give the ports that are not given out now, and why, for the admins."""
        left = self.leftovers.unavailable
        return {**self._gate.unavailable, **left, **self.quarantine.unavailable}

    def look_around(self) -> None:
        """Look for what belongs to nobody, and whether what is held back has become free."""
        self.leftovers.look()
        self.quarantine.look()

    def nodes(self) -> Sequence[Node]:
        """Say which machines instances run on, and how they are kept apart there."""
        return self._launcher.probe()

    def openings(self) -> dict[int, Opening]:
        """Give what the gates that are to be open need."""
        return wanted_openings(self._store.read(lambda t: t.ports.holding()))

    def start(self, user: User) -> Instance:
        """Reserve a port for a user's new instance; the watch starts it.

        Raises:
            NoFreeCard: none that the user may use is free, or Caddy is not running (``gate``).
            AlreadyRunning: the user holds one.
            NotPermitted: the account was disabled or deleted.
        """
        gate = self._gate.watch()
        if gate.problem and not gate.running:
            # Better said now than after a start that ends at a gate which does not open. A Caddy
            # that is only being begun will be there in time.
            raise NoFreeCard("no workspace can be opened: Caddy is not running", reason="gate")
        before, after = self._store.write(lambda t: self._reserve(t, user.id))
        self._restarts.drop(user.id)
        self._moves.announce(before, after)
        self.wake()
        return after

    def restart_due(self) -> None:
        """Start what crashed and has waited long enough; the watch calls this each second."""
        for plan in [] if self._shutting_down else self._restarts.due():
            if self._gate.watch().running:
                self._restart(plan)

    def _restart(self, plan: Plan) -> None:
        try:
            before, after = self._store.write(
                lambda t: self._reserve(t, plan.user_id, restart_on=plan.port)
            )
        except NoFreeCard as error:
            # What cannot be served just now is tried again; what somebody else has is not.
            if error.reason != "unavailable":
                self._restarts.lost(plan)
                self._moves.tell(plan.port, plan.user_id)
        except (AlreadyRunning, NotPermitted):
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
        if restart_on is not None and user.assigned_port not in {None, restart_on}:
            raise NoFreeCard("the account has another port by now", reason="removed")
        wanted = restart_on or user.assigned_port
        row = scheduler.choose(self._rows_of_table(t), wanted, self.unavailable)
        if user.workspace is None:
            t.users.set_workspace(user.id, workspace.folder_name(user.id, user.username))
        now = self._moves.clock()
        launch_id = secrets.token_hex(8)
        card = self._settings.row(row.port).card
        t.usage.begin(launch_id, user, row.port, card, now, automatic=restart_on is not None)
        reserved = {
            "current_user_id": user.id,
            "current_username": user.username,
            "launch_id": launch_id,
            "started_at": now,
            "ready_at": None,
            "deadline_at": self._steps.deadlines.begin(
                launch_id, State.STARTING, self._settings.start_timeout
            ),
            "stop_reason": None,
            **NO_FAULT,
            "token": None,
            "address": None,
            "secret": new_token(),
        }
        actor = "manager" if restart_on else user.username
        return row, self._moves.apply(t, row, Event.START, reserved, actor=actor)

    def stop(self, port: int, *, by: User, reason: str) -> Instance:
        """Begin to end the instance on a port; the watch does the rest.

        Args:
            port: the ComfyUI port.
            by: who asks; with reason ``user`` it must be the instance's own user.
            reason: ``user`` or ``admin``.

        Raises:
            NotRunning: nothing runs there, or it is being stopped already, or (reason ``user``)
                it is somebody else's.
        """

        def work(t: Tables) -> tuple[Instance, Instance]:
            row = t.ports.get(port)
            if row is None or row.state not in STOPPABLE:
                raise NotRunning("there is nothing to stop")
            if reason == "user" and row.user_id != by.id:
                raise NotRunning("your ComfyUI is not running here")
            values = self._steps.stopping(row, reason)
            return row, self._moves.apply(t, row, Event.STOP, values, actor=by.username)

        before, after = self._store.write(work)
        self._moves.announce(before, after)
        self.wake()
        return after

    def stop_all(self) -> list[Instance]:
        """Begin to end every instance, because the operator shuts the whole thing down."""
        self._shutting_down = self.quarantine.shutting_down = True
        return [
            self._moves.move(
                row, Event.STOP, self._steps.stopping(row, "shutdown"), actor="operator"
            )
            for row in self.holding()
            if row.state in STOPPABLE
        ]

    def holding(self) -> list[Instance]:
        """List the rows that somebody holds."""
        return self._store.read(lambda t: t.ports.holding())

    def instances(self) -> list[Instance]:
        """List every row of the port table, in its order."""
        return self._store.read(self._rows_of_table)

    def instance(self, port: int) -> Instance:
        """Give a port's row.

        Raises:
            NotFound: the table has no such port.
        """
        found = next((row for row in self.instances() if row.port == port), None)
        if found is None:
            raise NotFound(f"there is no port {port}", reason="port")
        return found

    def of_user(self, user_id: int) -> Instance | None:
        """Give the row a user holds, if any."""
        return self._store.read(lambda t: t.ports.of_user(user_id))

    def last_usage(self, user_id: int) -> Usage | None:
        """Give a user's newest session of use."""
        return self._store.read(lambda t: t.usage.last_of(user_id))

    def log_tail(self, launch_id: str, max_bytes: int) -> str:
        """Give the end of what an instance printed."""
        return self._launcher.logs(launch_id, max_bytes)

    def note_checks(self, idle_counts: dict[str, int]) -> None:
        """Write the idle seconds of each launch, for people and for the next start."""
        if idle_counts:
            self._store.write(lambda t: t.ports.note_checks(idle_counts))

    def note_activity(self, launch_id: str) -> None:
        """Write that a launch has just been seen at work."""
        self._store.write(lambda t: t.ports.note_activity(launch_id))

    def _rows_of_table(self, t: Tables) -> list[Instance]:
        rows = {row.port: row for row in t.ports.all()}
        return [rows[row.port] for row in self._settings.ports if row.port in rows]


__all__ = ["HOLDS_PORT", "Lifecycle"]
