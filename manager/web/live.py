"""What is told to open pages, and when: one background loop, batched, without any web library.

Whoever connects is told everything once, and from then on only what differs from what he was told
last (``differences``), with a number that grows by one: a page that misses one connects anew. Rooms
below report changes through ``changed``; the loop tells each user of his own state at most four
times a second, and admins of the overview once a second; ``pacing`` has them wait longer while the
machine is busy. It also closes connections whose session has ended. ``sockets`` hands in how to
send and how to close.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from manager.records import User
from manager.web import places, views
from manager.web.differences import difference
from manager.web.glance import glance
from manager.web.house import Manager
from manager.web.pacing import Pacing
from manager.web.views import Address, Revision, View

logger = logging.getLogger(__name__)

STATE_EVENT = "state"
"""To one user who connects: his whole state."""

STATE_DIFF_EVENT = "state_diff"
"""To one page: what changed since it was last told, with the next sequence number."""

OVERVIEW_EVENT = "overview"
"""To an admin who connects: everything."""

OVERVIEW_DIFF_EVENT = "overview_diff"
"""To all admins: what changed since the last one, with the next sequence number."""

STATE_GAP_S = 0.25
OVERVIEW_GAP_S = 1.0
BREATH = 10
"""Pages told before others have their turn: the watch, requests, and the connections themselves."""

RECHECK_GAP_S = 15.0
"""How long a connection may outlive a session that ended by time alone."""

Send = Callable[[str, View, str], None]
"""Event, data, connection."""


@dataclass
class Connection:
    """An open page and what it was told last. ``session_id`` is its login, never sent anywhere."""

    id: str
    user_id: int
    is_admin: bool
    session_id: str
    address: Address
    told: View | None = None
    sequence: int = 0


class Live:
    """Open connections and what still has to be told to them."""

    def __init__(self, manager: Manager, revision: Revision) -> None:
        """Begin with nobody connected and nothing to tell."""
        self._manager = manager
        self._revision = revision
        self._lock = threading.Lock()
        # Held while telling: a difference follows what was told just before, in any thread.
        self._telling = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._connections: dict[str, Connection] = {}
        self._users: set[int] = set()
        self._answered: set[int] = set()
        self._recheck = False
        self._rechecked_at = 0.0
        self._overview: View = {}
        self._pacing = Pacing(manager)
        self._sequence = 0
        self._supply: tuple[frozenset[int], frozenset[int]] = (frozenset(), frozenset())
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

    def answered(self, user_id: int) -> None:
        """Take note that a request was answered with a user's state.

        His pages may show that now. They are told once more, also if all is as it was before.
        """
        with self._lock:
            self._users.add(user_id)
            self._answered.add(user_id)
        self._wake.set()

    def accounts_changed(self) -> None:
        """Take note that accounts or sessions changed; each connection is checked again."""
        with self._lock:
            self._recheck = True
        self._wake.set()

    def session_renewed(self, old: str, new: str) -> None:
        """Take note that a login has another id: its pages stay."""
        with self._lock:
            for one in self._connections.values():
                if one.session_id == old:
                    one.session_id = new

    # Connections.

    def admit(self, connection_id: str, session_id: str, address: Address) -> Connection | None:
        """Let a connection in if its session is good; tell it the state it starts from.

        One that is in already stays as it is: a page can send an event by the name of «connect».
        """
        with self._lock:
            known = self._connections.get(connection_id)
        if known is not None:
            return known
        user = self._manager.accounts.who(session_id, address.remote) if session_id else None
        if user is None or user.is_held_up:
            return None
        connection = Connection(connection_id, user.id, user.is_admin, session_id, address)
        with self._telling:
            if user.is_admin:
                # The others first: all go on from the same.
                self._push_overview([one for one in self.connections() if one.is_admin])
            with self._lock:
                self._connections[connection_id] = connection
            self._tell(self._manager, connection, user)
            if user.is_admin:
                whole = {**self._overview, "sequence": self._sequence}
                self._send(OVERVIEW_EVENT, whole, connection_id)
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
        """Give the overview as it is now, and the number that was told last."""
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
            answered, self._answered = self._answered, set()
            recheck, self._recheck = self._recheck, False
        if recheck or now - self._rechecked_at >= RECHECK_GAP_S:
            self._rechecked_at = now
            self._close_ended()
        connections = self.connections()
        if not connections:
            return
        with self._telling:
            everybody = self._pacing.changed() or recheck
            due = self._pacing.due(now, users) | answered
            self._push_states(connections, due, answered, everybody=everybody)
            admins = [connection for connection in connections if connection.is_admin]
            if admins and self._pacing.overview_due(now):
                self._push_overview(admins)

    def _push_states(
        self,
        connections: list[Connection],
        users: set[int],
        answered: set[int],
        *,
        everybody: bool,
    ) -> None:
        seen = glance(self._manager)
        supply = places.supply(seen)
        everybody = everybody or supply != self._supply
        self._supply = supply
        concerned = [one for one in connections if everybody or one.user_id in users]
        owners = self._owners(concerned)
        for connection in _with_breath(concerned):
            user = owners.get(connection.id)
            if user is None or _ended(connection, user):
                self._shut(connection)
            else:
                self._tell(seen, connection, user, again=connection.user_id in answered)

    def _tell(
        self, seen: Manager, connection: Connection, user: User, *, again: bool = False
    ) -> None:
        """Send what differs from what the page was told; nothing if it was told just this."""
        revision = self._revision.next()
        state = views.user_state(seen, user, connection.address, revision)
        content = {name: value for name, value in state.items() if name != "revision"}
        before, connection.told = connection.told, content
        if content == before and not again:
            return
        told = difference(before, content) if before is not None else None
        connection.sequence += 1
        numbers = {"revision": revision, "sequence": connection.sequence}
        if told is None:
            self._send(STATE_EVENT, content | numbers, connection.id)
        else:
            self._send(STATE_DIFF_EVENT, told | numbers, connection.id)

    def _push_overview(self, admins: list[Connection]) -> None:
        new = views.overview(glance(self._manager), 0)
        told = difference(self._overview, new)
        if told == {}:
            return
        self._overview = new
        with self._lock:
            self._sequence += 1
        event = OVERVIEW_EVENT if told is None else OVERVIEW_DIFF_EVENT
        content = (new if told is None else told) | {"sequence": self._sequence}
        for connection in admins:
            self._send(event, content, connection.id)

    def _close_ended(self) -> None:
        connections = self.connections()
        owners = self._owners(connections)
        for connection in connections:
            user = owners.get(connection.id)
            if user is None or _ended(connection, user):
                self._shut(connection)

    def _owners(self, connections: list[Connection]) -> Mapping[str, User]:
        """Give by connection whose page it is, with the rights of where it is."""
        accounts = self._manager.accounts
        owners = accounts.own.owners({one.session_id for one in connections})
        return {
            one.id: accounts.at(owners[one.session_id], one.address.remote)
            for one in connections
            if one.session_id in owners
        }

    def _shut(self, connection: Connection) -> None:
        self.leave(connection.id)
        self._close(connection.id)


def _with_breath(connections: list[Connection]) -> Iterator[Connection]:
    """Give them one by one, and now and then let what was sent go out and everybody else go on."""
    for number, connection in enumerate(connections):
        if number % BREATH == BREATH - 1:
            time.sleep(0)
        yield connection


def _ended(connection: Connection, user: User) -> bool:
    """Tell whether a page shows what its reader may no longer see, or not as he is now."""
    return user.is_admin != connection.is_admin or user.is_held_up


def _nowhere(event: str, data: View, connection_id: str) -> None:
    """Send nothing: no server is attached yet."""


def _nothing(connection_id: str) -> None:
    """Close nothing: no server is attached yet."""
