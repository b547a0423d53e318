"""The pages around rooms kept in memory, and visitors to them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from flask_socketio import SocketIO
from werkzeug.test import TestResponse

from manager import settings as settings_module
from manager.accounts import UNCHANGED, Unchanged
from manager.allowance import Allowance, Blocked, TimeLeft, allowance
from manager.audit_records import AuditCheck, AuditFilter, AuditLine
from manager.card_history import Period
from manager.cards import cards
from manager.cards.sampler import CardState
from manager.cluster import Cluster
from manager.counts import DiskUse, Held, Own, Sitting, Total
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
from manager.line_history import Period as LinePeriod
from manager.measures import Measures
from manager.permits import Reservation, UserLimits
from manager.progress import Progress
from manager.records import (
    Instance,
    Leftover,
    Node,
    OwnSession,
    Quarantined,
    Restart,
    Unfinished,
    Usage,
    User,
    Waiting,
)
from manager.settings import Settings
from manager.spans import LineSpan, Span, merge
from manager.start_times import Usual
from manager.states import HOLDS_PORT, STOPPABLE, State
from manager.terms import Terms
from manager.web.app import create_app
from manager.web.doctor import EXTENSION as DOCTOR
from manager.web.doctor import Doctor
from manager.web.live import Live
from manager.web.services import EXTENSION
from manager.web.sockets import create_socketio
from manager.webhooks.delivery import Failing
from tests.support import contracts
from tests.support.notices import Announcements, Switch
from tests.support.people import People
from tests.support.second_factor import SecondFactors
from tests.support.sign_ins import SignIns
from tests.support.tokens import ApiTokens

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
    idle_by: str = ""
    idle_warns: bool = False
    idle_unknown: tuple[str, ...] = ()
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
    slowdown: int = 1


@dataclass(frozen=True)
class Health:
    """How Caddy is."""

    running: bool = True
    version: str = "2.11.7"
    problem: str | None = None
    certificate_until: float | None = None


class OwnSessions:
    """Logins of ``Accounts``, by the ids themselves."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.agents: dict[str, str] = {}

    def seen(self, session_id: str, user_agent: str) -> None:
        self.agents[session_id] = user_agent

    def owners(self, session_ids: Collection[str]) -> dict[str, User]:
        found = {one: self.accounts.who(one) for one in session_ids}
        return {one: owner for one, owner in found.items() if owner}

    def list(self, owner: User, session_id: str) -> list[OwnSession]:
        found = [sid for sid, user_id in self.accounts.sessions.items() if user_id == owner.id]
        return [
            OwnSession(sid, NOW, NOW, "192.0.2.7", self.agents.get(sid, ""), sid == session_id)
            for sid in found
        ]

    def end(self, owner: User, handle: str) -> None:
        if self.accounts.sessions.get(handle) != owner.id:
            raise NotFound("no", reason="session")
        del self.accounts.sessions[handle]

    def end_others(self, owner: User, session_id: str) -> None:
        self.accounts.end_sessions(owner.id, keep=session_id)


class FirstAdmin:
    """The first account."""

    known = False

    def is_known(self) -> bool:
        return self.known


class Accounts:
    """Accounts and sessions in memory; everybody's password is ``PASSWORD``."""

    def __init__(self) -> None:
        self.all: dict[int, User] = {}
        self.sessions: dict[str, int] = {}
        self.throttled = False
        self.own = OwnSessions(self)
        self.people = People(self)
        self.second_factor = SecondFactors(self, PASSWORD)
        self.second_factor_required = False
        self.first_admin = FirstAdmin()
        self.sign_ins = SignIns(self)
        self.sign_in_tried = self.sign_ins.tried
        self.password_changes: list[tuple[str, str, str]] = []

    def add(self, user_id: int, username: str, **changes: Any) -> User:
        self.all[user_id] = user(user_id, username, **changes)
        return self.all[user_id]

    def login(self, username: str, password: str, address: str, *named: str) -> tuple[User, str]:
        if self.throttled:
            raise TooManyAttempts("slow down", retry_after=17)
        found = next((u for u in self.all.values() if u.username == username), None)
        if found is None or password != PASSWORD or not found.is_active:
            raise NotAuthenticated("no", reason="login")
        if found.second_factor:
            raise self.second_factor.ask(found)
        return self._opened(found)

    def login_by_code(self, ticket: str, code: str, address: str) -> tuple[User, str]:
        return self._opened(self.second_factor.answer(ticket, code))

    def _opened(self, found: User) -> tuple[User, str]:
        sid = f"sid-{found.id}-{len(self.sessions)}"
        self.sessions[sid] = found.id
        return found, sid

    def who(self, sid: str, address: str | None = None) -> User | None:
        found = self.all.get(self.sessions.get(sid, 0))
        if not found or not found.is_active:
            return None
        return found if address is None else self.at(found, address)

    def at(self, user: User, address: str) -> User:
        if self.second_factor_required and user.is_admin and not user.second_factor:
            return dataclasses.replace(user, is_admin=False, must_set_second_factor=True)
        return user

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
        self.all[changed.id] = dataclasses.replace(self.all[changed.id], must_change_password=False)
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


class Line:
    """The waiting line in memory: who waits, and what is kept for whom, as the test sets it."""

    def __init__(self) -> None:
        self.rows: dict[int, Waiting] = {}
        self.sessions: list[float] = []
        self.left = 90.0
        self.left_by: dict[int, Waiting] = {}

    def join(self, owner: User) -> None:
        there = self.rows.get(owner.id)
        if there is None or there.missed_at is not None:
            number = 1 + max((one.id for one in self.rows.values()), default=0)
            self.put(owner, id=number)

    def put(self, owner: User, **values: Any) -> Waiting:
        plain = Waiting(owner.id, owner.id, owner.username, owner.assigned_port, NOW)
        self.rows[owner.id] = dataclasses.replace(plain, **values)
        return self.rows[owner.id]

    def leave(self, user_id: int, *, by: User) -> None:
        left = self.rows.pop(user_id, None)
        if left is None and user_id != by.id:
            raise NotFound("no", reason="line")
        if left is not None and user_id == by.id:
            self.left_by[user_id] = left

    def take_back(self, owner: User) -> None:
        left = self.left_by.pop(owner.id, None)
        if left is None:
            raise NotFound("no", reason="line_place")
        self.rows[owner.id] = left

    def all(self) -> list[Waiting]:
        waiting = [one for one in self.rows.values() if one.missed_at is None]
        return sorted(waiting, key=lambda one: one.id)

    def of_user(self, user_id: int) -> Waiting | None:
        return self.rows.get(user_id)

    def lengths(self) -> list[float]:
        return self.sessions

    def seconds_left(self, one: Waiting) -> float:
        return self.left


class Grants:
    """What users have asked for against the idle limit, as the test sets it."""

    def __init__(self) -> None:
        self.offer: tuple[float, int, bool] = (1800.0, 3, False)
        self.until: dict[str, float] = {}
        self.left = 14_400.0
        self.asked: list[tuple[object, ...]] = []

    def extension(self, row: Instance) -> tuple[float, int, bool]:
        return self.offer

    def extend(self, owner: User, left: float | None) -> None:
        if left is None:
            raise Conflict("no", reason="extend_not_due")
        self.asked.append(("extend", owner.username, left))

    def awake_until(self, launch_id: str) -> float | None:
        return self.until.get(launch_id)

    def awake_left(self, launch_id: str) -> float:
        return self.left

    def keep_awake(self, owner: User, seconds: float) -> None:
        if seconds > self.left:
            raise Conflict("no", reason="awake_too_long", minutes=int(self.left // 60))
        self.asked.append(("keep_awake", owner.username, seconds))

    def end_awake(self, port: int, *, by: User, own: bool, seconds: float = 0) -> None:
        self.asked.append(("end_awake", port, by.username, own, seconds))


class Kept:
    """Prompts of earlier sessions, as the test sets them."""

    def __init__(self) -> None:
        self.rows: list[Unfinished] = []
        self.prompts: list[dict[str, Any]] = []
        self.asked: list[str] = []

    def of_user(self, user_id: int) -> list[Unfinished]:
        return [one for one in self.rows if one.user_id == user_id]

    def listing(self, user_id: int) -> list[dict[str, Any]]:
        return self.prompts

    def send(self, owner: User) -> None:
        if not self.of_user(owner.id):
            raise NotFound("no", reason="unfinished")
        self.asked.append("send")

    def drop(self, owner: User) -> None:
        self.asked.append("drop")
        self.rows = [one for one in self.rows if one.user_id != owner.id]


class Book:
    """What sessions were used for, set by the test."""

    def __init__(self) -> None:
        self.all: dict[str, list[Total]] = {}
        self.sessions: list[Sitting] = []
        self.held: list[Held] = []
        self.own_of: dict[int, Own] = {}
        self.usual: Usual | None = None
        self.asked: list[tuple[object, ...]] = []

    def today(self) -> str:
        return "2026-11-24"

    def totals(self, group: str, since: str) -> list[Total]:
        self.asked.append((group, since))
        return self.all.get(group, [])

    def held_by_day(self, since: str, most: int) -> list[Held]:
        self.asked.append((since, most))
        return self.held

    def sittings(self, since: str, most: int) -> list[Sitting]:
        self.asked.append((since, most))
        return self.sessions[:most]

    def usual_start(self, launch_id: str, user_id: int) -> Usual | None:
        return self.usual

    def own(self, user_id: int, most: int) -> Own:
        nothing = Total("", 0, 0.0, 0.0, 0.0, 0.0, 0, 0, None)
        return self.own_of.get(user_id, Own(nothing, nothing, []))


class Limits:
    """What users are allowed, set by the test."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.own: dict[int, UserLimits] = {}
        self.blocks: dict[int, Blocked] = {}
        self.times: dict[int, TimeLeft] = {}
        self.used = 0.0

    def all(self) -> dict[int, UserLimits]:
        return self.own

    def of_user(self, user_id: int) -> Allowance:
        return allowance(self.own.get(user_id, UserLimits(user_id)), self.settings)

    def put(self, *limits: UserLimits, by: User) -> None:
        self.own.update({one.user_id: one for one in limits})

    def blocked(self, user_id: int) -> Blocked | None:
        return self.blocks.get(user_id)

    def used_today(self, user_id: int) -> float:
        return self.used

    def time(self, row: Instance) -> TimeLeft | None:
        return self.times.get(row.port)


class Reservations:
    """What is kept for whom, in memory."""

    def __init__(self) -> None:
        self.rows: dict[int, Reservation] = {}

    def all(self) -> list[Reservation]:
        return [self.rows[port] for port in sorted(self.rows)]

    def terms(self) -> Terms:
        return Terms(self.rows)

    def reserve(
        self, port: int, user_ids: Collection[int], until: float | None, reason: str, *, by: User
    ) -> None:
        users = frozenset(user_ids)
        self.rows[port] = Reservation(port, by.username, NOW, until, reason, users)

    def put_back(self, port: int, *, by: User) -> None:
        if self.rows.pop(port, None) is None:
            raise NotFound("no", reason="reservation")


class Audit:
    """Lines in memory, newest first, as the test sets them."""

    def __init__(self) -> None:
        self.lines: list[AuditLine] = []
        self.asked: list[AuditFilter] = []
        self.check = AuditCheck(0, "0" * 64, None)

    def page(self, wanted: AuditFilter, count: int) -> list[AuditLine]:
        self.asked.append(wanted)
        return [one for one in self.lines if wanted.before is None or one.id < wanted.before][
            :count
        ]

    def oldest_first(self, wanted: AuditFilter, most: int) -> list[AuditLine]:
        return self.page(wanted, most)[::-1]

    def actions(self) -> list[str]:
        return sorted({line.entry.action for line in self.lines})

    def verify(self) -> AuditCheck:
        return self.check


class Lifecycle:
    """Instances in memory; a start is ``starting`` at once, a stop ``stopping``."""

    def __init__(self, settings: Settings) -> None:
        ports = [row.port for row in settings.ports]
        self.limits = Limits(settings)
        self.reservations = Reservations()
        self.maintenance = Switch()
        self.rows = {port: instance(port) for port in ports}
        self.usages: dict[int, Usage] = {}
        self.restarts: dict[int, Restart] = {}
        self.log = "the last line\n"
        self.stops: list[tuple[int, str, str]] = []
        self.unavailable: dict[int, str] = {}
        self.leftovers = Leftovers()
        self.line = Line()
        self.grants = Grants()
        self.unfinished = Kept()
        self.book = Book()
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
        mine = owner.assigned_port
        raise NoFreeCard("none", reason="assigned" if mine else "all", port=mine)

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
class Follower:
    """How far work is, set by the test."""

    known: dict[int, Progress] = field(default_factory=dict)

    def progress(self, port: int) -> Progress | None:
        return self.known.get(port)


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


@dataclass
class CardHistory:
    """Spans of devices, set by the test."""

    kept: dict[int, list[Span]] = field(default_factory=dict)

    def spans(self, device: int, period: Period, now: float) -> list[Span]:
        return merge(self.kept.get(device, []), period.span_s)

    def use(self, span_s: int, shift: int, since: float) -> dict[tuple[int, int], float]:
        return {
            (device, (one.at + shift) // span_s * span_s - shift): one.extents["utilisation"].mean
            for device, spans in self.kept.items()
            for one in spans
            if one.at >= since
        }


@dataclass
class LineHistory:
    """Spans of the line, set by the test."""

    kept: list[LineSpan] = field(default_factory=list)

    def spans(self, period: LinePeriod, now: float) -> list[LineSpan]:
        return self.kept


class Disk:
    """What folders take, set by the test."""

    def __init__(self) -> None:
        self.on = True
        self.known: dict[int, DiskUse] = {}
        self.under_way: set[int] = set()
        self.asked: list[int] = []
        self.touched: list[int] = []

    def of_user(self, user_id: int) -> DiskUse | None:
        return self.known.get(user_id)

    def is_under_way(self, user_id: int) -> bool:
        return user_id in self.under_way

    def ask(self, user_id: int) -> None:
        self.asked.append(user_id)

    def touch(self, user_id: int) -> None:
        self.touched.append(user_id)


class Care:
    """Which webhooks fail, set by the test."""

    def __init__(self) -> None:
        self.found: list[Failing] = []

    def failing(self) -> list[Failing]:
        return self.found


class House:
    """All rooms, with one admin, two users and one who must change his password."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.settings: Settings = settings_module.load(
            {"COMFYUI_PATH": str(folder), "CARD_KIND": "ascend", **environ}, root=folder
        )
        self.accounts = Accounts()
        self.api_tokens = ApiTokens(self.accounts)
        self.audit = Audit()
        self.announcements = Announcements()
        self.lifecycle = Lifecycle(self.settings)
        self.watch = Watch()
        self.follower = Follower()
        self.load = Fixed(Load())
        self.gate = Fixed(Health())
        self.cards = cards(self.settings)
        self.cluster = Cluster(self.settings.ports, self.settings.card_kind, None)
        self.sampler = Sampler()
        self.card_history = CardHistory()
        self.line_history = LineHistory()
        self.disk = Disk()
        self.care = Care()
        self.secret_key = b"k" * 32
        self.measures = Measures()
        self.metrics_token = "m" * 64
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


class Still(Doctor):
    """A doctor who examines nothing."""

    def begin(self) -> None:
        return None


class Site:
    """The application over a house, and visitors to it."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.house = House(folder, **environ)
        self.app: Flask = create_app(self.house)
        self.app.testing = True
        # A visitor sees an error page, not the test the exception.
        self.app.config["PROPAGATE_EXCEPTIONS"] = False
        self.app.extensions[DOCTOR] = Still()
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
        answer = self.client.get(path, base_url=ORIGIN, headers=sent, buffered=True)
        contracts.check(self.site.app, "GET", path, answer)
        return answer

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
        answer = self.client.open(path, method=method, base_url=ORIGIN, headers=sent, **kwargs)
        contracts.check(self.site.app, method, path, answer)
        return answer

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
