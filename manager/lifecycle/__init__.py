"""The only room that moves an instance between states: start, stop, step, recover.

Requests write an intent and return; the watch calls ``step`` for everything that takes time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from manager.cluster import Cluster
from manager.errors import NotFound, NotRunning, SettingsError
from manager.gate.gate import Gate
from manager.gate.opening import Opening
from manager.launcher.protocol import Launcher
from manager.lifecycle.book import Book
from manager.lifecycle.leftovers import Leftovers
from manager.lifecycle.maintenance import Switch
from manager.lifecycle.moves import Moves
from manager.lifecycle.starts import Starts, rows_of_table
from manager.lifecycle.steps import Steps
from manager.records import Instance, Node, Usage, User
from manager.settings import Settings
from manager.states import HOLDS_PORT, STOPPABLE, Event
from manager.store import Store, Tables

logger = logging.getLogger(__name__)


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
        """Bind; ``wake`` is replaced by the watch, ``cluster`` where there are other machines."""
        self._settings = settings
        self._store = store
        self._moves = moves
        self._steps = steps
        self._launcher = launcher
        self._gate = gate
        self.wake: Callable[[], None] = lambda: None
        self.cluster = Cluster(settings.ports, "", None)
        self.step = steps.step
        self.grants = steps.grants
        self.unfinished = steps.keeper
        self.stop_if_idle = steps.idle_end.stop_if_idle
        self.stop_if_over = steps.idle_end.stop_if_over
        self.stop_if_hung = steps.stop_if_hung
        self.restart_of = steps.reviver.of_user
        self.restart_on = steps.reviver.on_port
        self.cancel_restart = steps.reviver.cancel
        self.keep_doors = steps.doors.reconcile
        self.quarantine = steps.quarantine
        self.limits = steps.limits
        self.reservations = steps.reservations
        self.maintenance = Switch(store, moves.publish, moves.clock)
        self.book = Book(settings, store, moves.clock)
        self.leftovers = Leftovers(settings, store, launcher, moves.clock)
        starts = Starts(settings, store, moves, steps, gate, lambda: self.unavailable)
        starts.wake = lambda: self.wake()
        self._starts = starts
        self.line = starts.line
        self.start, self.serve_line = starts.start, starts.serve_line
        self.restart_due = starts.restart_due

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
        self.grants.load()
        self.unfinished.load()
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
        return {
            **self.cluster.unavailable,
            **self._gate.unavailable,
            **left,
            **self.quarantine.unavailable,
        }

    def look_around(self) -> None:
        """Look for what belongs to nobody, and whether what is held back has become free."""
        self.leftovers.look()
        self.quarantine.look()

    def nodes(self) -> Sequence[Node]:
        """Say which machines instances run on, and how they are kept apart there."""
        return self._launcher.probe()

    def openings(self) -> dict[int, Opening]:
        """Give what the gates that are to be open need."""
        return self._steps.doors.wanted()

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
        self._starts.shutting_down = self.quarantine.shutting_down = True
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
        return self._store.read(lambda t: rows_of_table(self._settings, t))

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

    def note_activity(self, launch_id: str) -> None:
        """Write that a launch has just been seen at work."""
        self._store.write(lambda t: t.ports.note_activity(launch_id))


__all__ = ["HOLDS_PORT", "Lifecycle"]
