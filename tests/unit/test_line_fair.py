"""The line on a real store, in any order of what people, admins, cards, clocks and crashes do.

Nobody gets a port out of turn, a kept port is given to nobody else, and whoever waits is overtaken
only by those who were there before him: so everybody's turn comes.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from manager.accounts import Accounts
from manager.errors import AlreadyRunning, NoFreeCard, NotPermitted
from manager.launcher.protocol import Liveness, ProcessReport
from manager.records import Instance, User, Waiting
from manager.states import HOLDS_PORT
from tests.support.house import House

PORTS = (8001, 8002)
CLAIM_S = 60
NAMES = {"ann": None, "bob": None, "cid": 8001, "dot": 8002, "eve": 8001}
WHO = st.sampled_from(sorted(NAMES))
PORT = st.sampled_from(PORTS)


class FairLine(RuleBasedStateMachine):
    """Five users, two ports; ``allowed`` are those who may still get a port before somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        table = ",".join(f"{port}:{port + 1000}:{port + 1080}:{port - 8000}" for port in PORTS)
        self.house = House(Path(self.folder), PORTS=table, CLAIM_TIMEOUT=str(CLAIM_S))
        self.accounts = Accounts(self.house.settings, self.house.store)
        self.admin = self.house.user("root")
        self.house.store.write(
            lambda t: t.users.set_rights(
                self.admin.id, is_admin=True, is_active=True, assigned_port=None
            )
        )
        self.users = {name: self.house.user(name, port) for name, port in NAMES.items()}
        self.allowed: dict[str, set[str]] = {}
        self.offered_at: dict[str, float] = {}
        self.reserved: dict[int, set[str]] = {}
        self.until: dict[int, float | None] = {}

    def teardown(self) -> None:
        try:
            self.everybodys_turn_comes()
        finally:
            self.house.close()
            shutil.rmtree(self.folder)

    def line(self) -> list[Waiting]:
        return list(self.house.lifecycle.line.all())

    def offers(self) -> dict[str, int]:
        return {w.username: w.offered_port for w in self.line() if w.offered_port is not None}

    def free(self) -> set[int]:
        rows = self.house.lifecycle.instances()
        return {
            row.port
            for row in rows
            if row.state not in HOLDS_PORT and row.port not in self.house.gate.unavailable
        }

    def held(self, name: str) -> Instance | None:
        return self.house.lifecycle.of_user(self.users[name].id)

    @rule(name=WHO)
    def join(self, name: str) -> None:
        before = [one.username for one in self.line()]
        try:
            self.house.lifecycle.line.join(self.users[name])
        except AlreadyRunning:
            assert self.held(name)
            return
        except NotPermitted:
            assert not self.user(name).is_active
            return
        after = [one.username for one in self.line()]
        assert after == (before if name in before else [*before, name])
        if name not in before:
            self.allowed[name] = set(before)

    def user(self, name: str) -> User:
        return self.accounts.user(self.users[name].id)

    @rule(name=WHO)
    def leave(self, name: str) -> None:
        user = self.users[name]
        self.house.lifecycle.line.leave(user.id, by=user)
        self.out(name)

    def out(self, name: str) -> None:
        """Take note: whoever is out and comes again comes after those who wait now."""
        self.allowed.pop(name, None)
        for ahead in self.allowed.values():
            ahead.discard(name)

    @rule(name=WHO)
    def start(self, name: str) -> None:
        offers, waited = self.offers(), {one.username for one in self.line()}
        kept = offers.get(name)
        good = kept in self.free() and self.may_use(name, kept)
        try:
            row = self.house.lifecycle.start(self.users[name])
        except (NoFreeCard, AlreadyRunning, NotPermitted):
            assert not good, "whoever has an offer that can be taken gets it"
            return
        assert not good or row.port == kept
        assert self.may_use(name, row.port), "it is reserved for others"
        assert all(
            port != row.port or other == name or not self.may_use(other, port)
            for other, port in offers.items()
        ), "it was kept for somebody else"
        self.house.lifecycle.serve_line()
        now = self.offers()
        for other, ahead in self.allowed.items():
            unserved = other != name and other in waited and other not in offers.keys() | now.keys()
            if unserved and self.may_use(other, row.port):
                assert name in ahead, f"{name} got in front of {other}"
        self.out(name)
        self.take_note(offers)

    def may_use(self, name: str, port: int | None) -> bool:
        if port is None or self.user(name).assigned_port not in (None, port):
            return False
        return port not in self.reserved or name in self.reserved[port]

    @rule(port=PORT)
    def end(self, port: int) -> None:
        row = self.house.row(port)
        if row.state not in HOLDS_PORT:
            return
        name = next(n for n, user in self.users.items() if user.id == row.user_id)
        self.house.lifecycle.stop(port, by=self.users[name], reason="user")
        self.house.launcher.reports[row.launch_id or ""] = ProcessReport(Liveness.GONE, exit_code=0)
        self.house.step(port)

    @rule()
    def look(self) -> None:
        before = self.offers()
        self.house.lifecycle.serve_line()
        self.take_note(before)
        usable = self.free() - set(self.offers().values())
        for one in self.line():
            if one.offered_port is None:
                assert not any(self.may_use(one.username, p) for p in usable), "it lies idle"
            else:
                assert one.offered_port in self.free()
                assert self.may_use(one.username, one.offered_port)

    def take_note(self, before: dict[str, int]) -> None:
        """Follow what a look changed, and check that nobody missed what he still had time for."""
        now, waiting = self.offers(), {one.username for one in self.line()}
        for name in before:
            user = self.users[name]
            gone = self.house.lifecycle.line.of_user(user.id)
            if name not in waiting and gone is not None and gone.missed_at is not None:
                assert self.house.monotonic.now - self.offered_at[name] >= CLAIM_S
                self.out(name)
            elif name in waiting and name not in now:
                # His was taken away; others keep what they have.
                self.allowed[name] |= now.keys()
            if name in waiting and before[name] in self.free() and self.may_use(name, before[name]):
                assert now[name] == before[name], "what is offered stays"
        for name, port in now.items():
            if before.get(name) != port:
                self.offered_at[name] = self.house.monotonic.now

    @rule(seconds=st.sampled_from((1.0, 20.0, CLAIM_S + 1.0)))
    def pass_time(self, seconds: float) -> None:
        self.house.pass_time(seconds)
        self.expire()

    @rule(seconds=st.sampled_from((-86_400.0, -30.0, 30.0, 86_400.0)))
    def set_the_clock(self, seconds: float) -> None:
        self.house.clock.now += seconds
        self.expire()

    @rule()
    def kill_the_manager(self) -> None:
        self.house.begins()
        # What is left of an offer may count anew, but is never less than a moment.
        self.offered_at = dict.fromkeys(self.offers(), self.house.monotonic.now)

    @rule(port=PORT)
    def hold_back_or_release(self, port: int) -> None:
        if self.house.gate.unavailable.pop(port, None) is None:
            self.house.gate.unavailable[port] = "held back"

    @rule(port=PORT, names=st.sets(WHO, max_size=2), lasts=st.sampled_from((None, 30.0)))
    def reserve(self, port: int, names: set[str], lasts: float | None) -> None:
        users = [self.users[name].id for name in names if self.assigned_here(name, port)]
        until = None if lasts is None else self.house.clock.now + lasts
        self.house.lifecycle.reservations.reserve(port, users, until, "", by=self.admin)
        self.reserved[port] = {name for name in names if self.users[name].id in users}
        self.until[port] = until
        self.they_wait_for_something_else()

    def assigned_here(self, name: str, port: int) -> bool:
        return self.user(name).assigned_port in (None, port)

    @rule(port=PORT)
    def put_back(self, port: int) -> None:
        self.expire()
        if port in self.reserved:
            self.house.lifecycle.reservations.put_back(port, by=self.admin)
            del self.reserved[port]
            self.they_wait_for_something_else()

    def expire(self) -> None:
        """Follow which reservations are over by now; by the clock on the wall, as people mean."""
        now = self.house.clock.now
        over = [p for p in self.reserved if (self.until[p] or math.inf) <= now]
        for port in over:
            del self.reserved[port]
        if over:
            self.house.lifecycle.reservations.expire()
            self.they_wait_for_something_else()

    def they_wait_for_something_else(self) -> None:
        waiting = [one.username for one in self.line()]
        for name, ahead in self.allowed.items():
            if name in waiting:
                ahead |= {*waiting[: waiting.index(name)], *self.offers()} - {name}

    @rule(name=WHO, port=st.sampled_from((None, *PORTS)))
    def assign(self, name: str, port: int | None) -> None:
        self.accounts.update_user(self.admin, self.users[name].id, assigned_port=port)
        # He waits for something else now: those who have an offer there, or came before, are first.
        if name in self.allowed:
            waiting = [one.username for one in self.line()]
            self.allowed[name] |= {*waiting[: waiting.index(name)], *self.offers()} - {name}

    @rule(name=WHO)
    def disable_or_enable(self, name: str) -> None:
        user = self.user(name)
        self.accounts.update_user(self.admin, user.id, is_active=not user.is_active)
        if user.is_active:
            assert self.house.lifecycle.line.of_user(user.id) is None
            self.out(name)

    @invariant()
    def a_port_is_promised_and_held_once(self) -> None:
        offered = list(self.offers().values())
        assert len(set(offered)) == len(offered)
        holders = [row.user_id for row in self.house.lifecycle.holding()]
        assert len(set(holders)) == len(holders)
        assert not {one.user_id for one in self.line()} & set(holders)

    def everybodys_turn_comes(self) -> None:
        """From any state: if sessions end, each who waits has had his turn in a bounded time."""
        self.house.gate.unavailable.clear()
        for port in list(self.reserved):
            self.put_back(port)
        for _ in range(len(self.line()) + 1):
            for port in PORTS:
                self.end(port)
            self.look()
            for name in self.offers():
                self.start(name)
        assert self.line() == []


FairLine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestFairLine = FairLine.TestCase
