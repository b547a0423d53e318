"""The pages around rooms kept in memory, and visitors to them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from flask_socketio import SocketIO
from werkzeug.test import TestResponse

from manager import settings as settings_module
from manager.accounts import UNCHANGED, Unchanged
from manager.cards import Card
from manager.cards.sampler import CardState
from manager.errors import (
    AlreadyRunning,
    BadInput,
    Conflict,
    NoFreeCard,
    NotAuthenticated,
    NotFound,
    NotRunning,
    TooManyAttempts,
)
from manager.records import Instance, Leftover, Node, Quarantined, Restart, Usage, User
from manager.settings import Settings
from manager.states import HOLDS_PORT, STOPPABLE, State
from manager.web.app import create_app
from manager.web.live import Live
from manager.web.services import EXTENSION
from manager.web.sockets import create_socketio

HOST = "manager.test:8880"
ORIGIN = f"http://{HOST}"
PASSWORD = "right password"
TOKEN = "SECRETsecretSECRETsecretSECRET12"
NOW = 1_790_000_000.0


def user(user_id: int, username: str, **changes: Any) -> User:
    """Make an account."""
    plain = User(
        id=user_id,
        username=username,
        is_admin=False,
        assigned_port=None,
        is_active=True,
        must_change_password=False,
        created_at=NOW,
        workspace=None,
    )
    return dataclasses.replace(plain, **changes)


def instance(port: int, state: State = State.IDLE, **changes: Any) -> Instance:
    """Make a port's row."""
    plain = Instance(
        port=port,
        state=state,
        user_id=None,
        username=None,
        process_id=None,
        launch_id=None,
        token=None,
        started_at=None,
        ready_at=None,
        deadline_at=None,
        stop_reason=None,
        fault=None,
        idle_count=0,
    )
    return dataclasses.replace(plain, **changes)


@dataclass(frozen=True)
class Reading:
    """What the watch saw."""

    stage: str = "ready"
    running: int | None = 0
    pending: int | None = 0
    idle_seconds: float = 0.0
    idle_left: float | None = None
    responding: bool = True
    hung_since: float | None = None


@dataclass(frozen=True)
class Load:
    """A busy machine."""

    cpu_percent: float = 37.4
    memory_percent: float = 61.0
    memory_used: int = 39 << 30
    memory_total: int = 64 << 30
    disk_percent: float = 88.0
    disk_free: int = 120 << 30


@dataclass(frozen=True)
class Health:
    """How Caddy is."""

    running: bool = True
    version: str = "2.11.7"
    problem: str | None = None


class Accounts:
    """Accounts and sessions in memory; everybody's password is ``PASSWORD``."""

    def __init__(self) -> None:
        self.all: dict[int, User] = {}
        self.sessions: dict[str, int] = {}
        self.throttled = False
        self.password_changes: list[tuple[str, str, str]] = []

    def add(self, user_id: int, username: str, **changes: Any) -> User:
        self.all[user_id] = user(user_id, username, **changes)
        return self.all[user_id]

    def login(self, username: str, password: str, address: str) -> tuple[User, str]:
        if self.throttled:
            raise TooManyAttempts("slow down", retry_after=17)
        found = next((u for u in self.all.values() if u.username == username), None)
        if found is None or password != PASSWORD or not found.is_active:
            raise NotAuthenticated("no", reason="login")
        sid = f"sid-{found.id}-{len(self.sessions)}"
        self.sessions[sid] = found.id
        return found, sid

    def who(self, sid: str) -> User | None:
        found = self.all.get(self.sessions.get(sid, 0))
        return found if found and found.is_active else None

    def logout(self, sid: str) -> None:
        self.sessions.pop(sid, None)

    def end_sessions(self, user_id: int, keep: str = "") -> None:
        self.sessions = {s: u for s, u in self.sessions.items() if u != user_id or s == keep}

    def change_password(self, changed: User, old: str, new: str, *, keep_sid: str) -> None:
        if old != PASSWORD:
            raise NotAuthenticated("no", reason="wrong_password")
        if len(new) < 8:
            raise BadInput("short", reason="password", low=8, high=256)
        self.password_changes.append((changed.username, new, keep_sid))
        self.all[changed.id] = dataclasses.replace(changed, must_change_password=False)
        self.end_sessions(changed.id, keep=keep_sid)

    def users(self) -> list[User]:
        return list(self.all.values())

    def user(self, user_id: int) -> User:
        if user_id not in self.all:
            raise NotFound("no", reason="user")
        return self.all[user_id]

    def create_user(
        self,
        actor: User,
        username: str,
        password: str,
        *,
        is_admin: bool = False,
        assigned_port: int | None = None,
    ) -> User:
        if username in {u.username for u in self.all.values()}:
            raise Conflict("taken", reason="username_taken", username=username)
        return self.add(
            max(self.all) + 1,
            username,
            is_admin=is_admin,
            assigned_port=assigned_port,
            must_change_password=True,
        )

    def update_user(
        self,
        actor: User,
        user_id: int,
        *,
        is_active: bool | None = None,
        is_admin: bool | None = None,
        assigned_port: int | Unchanged | None = UNCHANGED,
    ) -> User:
        changed = self.user(user_id)
        if is_active is not None:
            changed = dataclasses.replace(changed, is_active=is_active)
        if is_admin is not None:
            changed = dataclasses.replace(changed, is_admin=is_admin)
        if not isinstance(assigned_port, Unchanged):
            changed = dataclasses.replace(changed, assigned_port=assigned_port)
        self.all[user_id] = changed
        if not changed.is_active:
            self.end_sessions(user_id)
        return changed

    def delete_user(self, actor: User, user_id: int) -> None:
        if self.user(user_id).id == actor.id:
            raise Conflict("yourself", reason="yourself")
        del self.all[user_id]
        self.end_sessions(user_id)

    def reset_password(self, actor: User, user_id: int) -> str:
        self.all[user_id] = dataclasses.replace(self.user(user_id), must_change_password=True)
        self.end_sessions(user_id)
        return "generated-once"


class Leftovers:
    """What lives without a row, set by the test."""

    def __init__(self) -> None:
        self.found: dict[str, Leftover] = {}
        self.stopped: list[tuple[str, str]] = []

    def all(self) -> list[Leftover]:
        return list(self.found.values())

    def is_ending(self, launch_id: str) -> bool:
        return launch_id in {stopped for stopped, _ in self.stopped}

    def stop(self, launch_id: str, *, by: User) -> None:
        if launch_id not in self.found:
            raise NotFound("no", reason="leftover")
        self.stopped.append((launch_id, by.username))


class Quarantine:
    """What is held back, set by the test."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[Quarantined, bool]] = {}

    def all(self) -> list[tuple[Quarantined, bool]]:
        return list(self.held.values())

    def release(self, port: int, *, by: User) -> None:
        if port not in self.held:
            raise NotFound("no", reason="quarantine")
        del self.held[port]


class Lifecycle:
    """Instances in memory; a start is ``starting`` at once, a stop ``stopping``."""

    def __init__(self, ports: list[int]) -> None:
        self.rows = {port: instance(port) for port in ports}
        self.usages: dict[int, Usage] = {}
        self.restarts: dict[int, Restart] = {}
        self.log = "the last line\n"
        self.stops: list[tuple[int, str, str]] = []
        self.unavailable: dict[int, str] = {}
        self.leftovers = Leftovers()
        self.quarantine = Quarantine()
        self.node = Node("local", "user", 7, ("supervisor", "account", "marker"), {}, root=True)

    def put(self, port: int, state: State, owner: User, **changes: Any) -> Instance:
        values: dict[str, Any] = {
            "user_id": owner.id,
            "username": owner.username,
            "launch_id": f"launch-{port}",
            "started_at": NOW,
            "token": TOKEN if state is State.RUNNING else None,
            **changes,
        }
        self.rows[port] = instance(port, state, **values)
        return self.rows[port]

    def start(self, owner: User) -> Instance:
        if self.of_user(owner.id):
            raise AlreadyRunning("already")
        for port, row in self.rows.items():
            if row.state not in HOLDS_PORT and owner.assigned_port in (None, port):
                return self.put(port, State.STARTING, owner)
        raise NoFreeCard("none")

    def stop(self, port: int, *, by: User, reason: str) -> Instance:
        row = self.rows[port]
        if row.state not in STOPPABLE:
            raise NotRunning("nothing")
        self.stops.append((port, by.username, reason))
        self.rows[port] = dataclasses.replace(row, state=State.STOPPING, token=None)
        return self.rows[port]

    def nodes(self) -> tuple[Node, ...]:
        return (self.node,)

    def of_user(self, user_id: int) -> Instance | None:
        held = (r for r in self.rows.values() if r.state in HOLDS_PORT)
        return next((row for row in held if row.user_id == user_id), None)

    def instance(self, port: int) -> Instance:
        return self.rows[port]

    def instances(self) -> list[Instance]:
        return list(self.rows.values())

    def restart_of(self, user_id: int) -> Restart | None:
        return self.restarts.get(user_id)

    def restart_on(self, port: int) -> Restart | None:
        return next((r for r in self.restarts.values() if r.port == port and not r.over), None)

    def cancel_restart(self, user_id: int) -> bool:
        return self.restarts.pop(user_id, None) is not None

    def last_usage(self, user_id: int) -> Usage | None:
        return self.usages.get(user_id)

    def log_tail(self, launch_id: str, max_bytes: int) -> str:
        return f"{launch_id}: {self.log}"[-max_bytes:]


@dataclass
class Watch:
    """Readings, set by the test."""

    readings: dict[int, Reading] = field(default_factory=dict)

    def reading(self, port: int) -> Reading | None:
        return self.readings.get(port)


@dataclass
class Fixed:
    """A room that gives one thing."""

    value: Any
    unavailable: dict[int, str] = field(default_factory=dict)

    def latest(self) -> Any:
        return self.value

    def watch(self) -> Any:
        return self.value


@dataclass
class Sampler:
    """States of cards by device, set by the test."""

    states: dict[int, CardState] = field(default_factory=dict)

    def state(self, device: int) -> CardState | None:
        return self.states.get(device)


class House:
    """All rooms, with one admin, two users and one who must change his password."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.settings: Settings = settings_module.load(
            {"COMFYUI_PATH": str(folder), "CARD_KIND": "ascend", **environ}, root=folder
        )
        self.accounts = Accounts()
        self.lifecycle = Lifecycle([row.port for row in self.settings.ports])
        self.watch = Watch()
        self.load = Fixed(Load())
        self.gate = Fixed(Health())
        self.cards = [
            Card(card=row.card, kind="ascend", device=row.device, port=row.port)
            for row in self.settings.ports
        ]
        self.sampler = Sampler()
        self.secret_key = b"k" * 32
        self.callbacks: list[Callable[[frozenset[int], frozenset[int]], None]] = []
        self.admin = self.accounts.add(1, "admin", is_admin=True)
        self.ann = self.accounts.add(2, "ann")
        self.bob = self.accounts.add(3, "bob")
        self.new = self.accounts.add(4, "new", must_change_password=True)

    def on_change(self, callback: Callable[[frozenset[int], frozenset[int]], None]) -> None:
        self.callbacks.append(callback)

    def changed(self, ports: set[int], users: set[int]) -> None:
        """Report a change as the rooms below do."""
        for callback in self.callbacks:
            callback(frozenset(ports), frozenset(users))


class Site:
    """The application over a house, and visitors to it."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.house = House(folder, **environ)
        self.app: Flask = create_app(self.house)
        self.app.testing = True
        # A visitor sees an error page, not the test the exception.
        self.app.config["PROPAGATE_EXCEPTIONS"] = False
        self.socketio: SocketIO = create_socketio(self.app, self.house)
        self.live: Live = self.app.extensions[EXTENSION].live

    def visitor(self, username: str | None = None, **headers: str) -> Visitor:
        """Give somebody with an own browser, logged in if a name is given."""
        visitor = Visitor(self, headers)
        if username:
            answer = visitor.log_in(username)
            assert answer.status_code == 302, answer.text
        return visitor


class Visitor:
    """A browser: cookies, Origin and the CSRF token of the page it stands on."""

    def __init__(self, site: Site, headers: dict[str, str]) -> None:
        self.site = site
        self.client: FlaskClient = site.app.test_client()
        self.headers = {"Accept-Language": "en", **headers}

    def get(self, path: str, **headers: str) -> TestResponse:
        sent = {**self.headers, **headers}
        # Buffered, so that a static file is closed again.
        return self.client.get(path, base_url=ORIGIN, headers=sent, buffered=True)

    def csrf(self) -> str:
        """Read the token from a page's head."""
        for path in ("/login", "/password", "/"):
            found = re.search(r'name="csrf-token" content="([^"]+)"', self.get(path).text)
            if found:
                return found[1]
        raise AssertionError("no page has a CSRF token")

    def send(
        self,
        method: str,
        path: str,
        *,
        origin: str | None = ORIGIN,
        csrf: bool = True,
        headers: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> TestResponse:
        """Send a request that changes something, by default as our own page does."""
        sent = {**self.headers, **(headers or {})}
        if origin is not None:
            sent["Origin"] = origin
        if csrf:
            sent["X-CSRFToken"] = self.csrf()
        return self.client.open(path, method=method, base_url=ORIGIN, headers=sent, **kwargs)

    def post(self, path: str, **kwargs: Any) -> TestResponse:
        return self.send("POST", path, **kwargs)

    def log_in(self, username: str, password: str = PASSWORD) -> TestResponse:
        return self.post("/login", data={"username": username, "password": password})

    def connect(self, origin: str | None = None) -> Any:
        """Open a live connection."""
        headers = {"Host": HOST, **({"Origin": origin} if origin else {})}
        return self.site.socketio.test_client(
            self.site.app, headers=headers, flask_test_client=self.client
        )
