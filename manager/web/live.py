"""What is told to open pages, and when: one background loop, batched, without any web library.

Rooms below report changes through ``changed``; the loop sends each connected user his own state at
most four times a second, and admins one difference of the overview a second. It also closes
connections whose session has ended. ``sockets`` hands in how to send and how to close.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from manager.records import User
from manager.states import HOLDS_PORT
from manager.web import views
from manager.web.house import Manager
from manager.web.views import Address, Revision, View

logger = logging.getLogger(__name__)

STATE_EVENT = "state"
"""To one user: his whole state."""

OVERVIEW_EVENT = "overview"
"""To an admin who connects: everything."""

OVERVIEW_DIFF_EVENT = "overview_diff"
"""To all admins: what changed since the last one, with the next sequence number."""

STATE_GAP_S = 0.25
OVERVIEW_GAP_S = 1.0
RECHECK_GAP_S = 15.0
"""How long a connection may outlive a session that ended by time alone."""

Send = Callable[[str, View, str], None]
"""Event, data, connection."""


@dataclass(frozen=True)
class Connection:
    """An open page. ``session_id`` is its login, never sent anywhere."""

    id: str
    user_id: int
    is_admin: bool
    session_id: str
    address: Address
    last: View | None = None


class Live:
    """Open connections and what still has to be told to them."""

    def __init__(self, manager: Manager, revision: Revision) -> None:
        """Begin with nobody connected and nothing to tell."""
        self._manager = manager
        self._revision = revision
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._connections: dict[str, Connection] = {}
        self._users: set[int] = set()
        self._recheck = False
        self._rechecked_at = 0.0
        self._overview: View = {}
        self._overview_at = 0.0
        self._sequence = 0
        self._free: frozenset[int] = frozenset()
        self._send: Send = _nowhere
        self._close: Callable[[str], None] = _nothing

    def attach(self, send: Send, close: Callable[[str], None]) -> None:
        """Say how to send to a connection and how to close one."""
        self._send, self._close = send, close

    # What others report; any thread, returns at once.

    def changed(self, ports: frozenset[int], users: frozenset[int]) -> None:
        """Take note of changed ports and users."""
        with self._lock:
            self._users |= users
        self._wake.set()

    def accounts_changed(self) -> None:
        """Take note that accounts or sessions changed; each connection is checked again."""
        with self._lock:
            self._recheck = True
        self._wake.set()

    # Connections.

    def admit(self, connection_id: str, session_id: str, address: Address) -> Connection | None:
        """Let a connection in if its session is good; tell it the state it starts from."""
        user = self._manager.accounts.who(session_id) if session_id else None
        if user is None or user.must_change_password:
            return None
        connection = Connection(connection_id, user.id, user.is_admin, session_id, address)
        with self._lock:
            self._connections[connection_id] = connection
        self._tell(connection, user)
        if user.is_admin:
            self._send(OVERVIEW_EVENT, self.snapshot(), connection_id)
        return connection

    def leave(self, connection_id: str) -> None:
        """Forget a connection that is closed."""
        with self._lock:
            self._connections.pop(connection_id, None)

    def connections(self) -> list[Connection]:
        """List who is connected now."""
        with self._lock:
            return list(self._connections.values())

    def snapshot(self) -> View:
        """Give the overview with the number that the next difference follows."""
        with self._lock:
            sequence = self._sequence
        return views.overview(self._manager, sequence)

    # The loop.

    def run(self) -> None:
        """Tell and go on telling until ``end``; the server starts this, not a visitor."""
        while not self._stop.is_set():
            self._wake.wait(OVERVIEW_GAP_S)
            self._wake.clear()
            self.push(time.monotonic())
            self._stop.wait(STATE_GAP_S)

    def end(self) -> None:
        """End the loop and close every connection."""
        self._stop.set()
        self._wake.set()
        for connection in self.connections():
            self._shut(connection)

    def push(self, now: float) -> None:
        """Tell once what is due at ``now`` (monotonic seconds)."""
        with self._lock:
            users, self._users = self._users, set()
            recheck, self._recheck = self._recheck, False
        if recheck or now - self._rechecked_at >= RECHECK_GAP_S:
            self._rechecked_at = now
            self._close_ended()
        connections = self.connections()
        if connections:
            self._push_states(connections, users, everybody=recheck)
        admins = [connection for connection in connections if connection.is_admin]
        if admins and now - self._overview_at >= OVERVIEW_GAP_S:
            self._overview_at = now
            self._push_overview(admins)

    def _push_states(
        self, connections: list[Connection], users: set[int], *, everybody: bool
    ) -> None:
        instances = self._manager.lifecycle.instances()
        closed = self._manager.lifecycle.unavailable
        free = frozenset(
            i.port for i in instances if i.state not in HOLDS_PORT and i.port not in closed
        )
        everybody = everybody or free != self._free
        self._free = free
        for connection in connections:
            if everybody or connection.user_id in users:
                user = self._manager.accounts.who(connection.session_id)
                if user is not None:
                    self._tell(connection, user)

    def _tell(self, connection: Connection, user: User) -> None:
        """Send a state unless the page has exactly this one."""
        revision = self._revision.next()
        state = views.user_state(self._manager, user, connection.address, revision)
        content = {name: value for name, value in state.items() if name != "revision"}
        if content == connection.last:
            return
        with self._lock:
            if connection.id in self._connections:
                self._connections[connection.id] = replace(connection, last=content)
        self._send(STATE_EVENT, state, connection.id)

    def _push_overview(self, admins: list[Connection]) -> None:
        new = views.overview(self._manager, 0)
        diff = views.overview_diff(self._overview, new)
        if not diff:
            return
        self._overview = new
        with self._lock:
            self._sequence += 1
            diff["sequence"] = self._sequence
        for connection in admins:
            self._send(OVERVIEW_DIFF_EVENT, diff, connection.id)

    def _close_ended(self) -> None:
        for connection in self.connections():
            user = self._manager.accounts.who(connection.session_id)
            if user is None or user.is_admin != connection.is_admin or user.must_change_password:
                self._shut(connection)

    def _shut(self, connection: Connection) -> None:
        self.leave(connection.id)
        self._close(connection.id)


def _nowhere(event: str, data: View, connection_id: str) -> None:
    """Send nothing: no server is attached yet."""


def _nothing(connection_id: str) -> None:
    """Close nothing: no server is attached yet."""
