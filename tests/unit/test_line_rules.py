"""Who in the waiting line is next: the pure part, against whatever may happen."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from manager import scheduler
from manager.errors import NoFreeCard
from manager.records import Instance, Waiting
from manager.states import HOLDS_PORT, STARTABLE, State

PORTS = (8001, 8002, 8003)
USERS = range(1, 7)


def row(port: int, state: State = State.IDLE, started_at: float | None = None) -> Instance:
    return Instance(
        port, state, None, None, None, None, None, started_at, started_at, None, None, None, 0
    )


def waiting(user_id: int, assigned_port: int | None = None, offered: int | None = None) -> Waiting:
    return Waiting(user_id, user_id, f"u{user_id}", assigned_port, 0.0, offered)


ROWS = st.builds(
    lambda states: [row(port, state) for port, state in zip(PORTS, states, strict=True)],
    st.lists(st.sampled_from(State), min_size=3, max_size=3),
)
LINE = st.lists(
    st.builds(waiting, st.sampled_from(USERS), st.sampled_from((None, *PORTS))),
    unique_by=lambda one: one.user_id,
)
CLOSED = st.dictionaries(st.sampled_from(PORTS), st.just("held back"))


@given(ROWS, LINE, CLOSED)
def test_a_free_port_goes_to_the_first_who_may_use_it(
    rows: list[Instance], line: list[Waiting], closed: dict[int, str]
) -> None:
    given_to = scheduler.allot(rows, line, closed)
    free = {r.port for r in rows if r.state in STARTABLE} - closed.keys()
    assert given_to.keys() <= free
    assert len(set(given_to.values())) == len(given_to)
    served = {user: port for port, user in given_to.items()}
    for at, one in enumerate(line):
        if one.user_id in served:
            assert one.may_use(served[one.user_id])
            continue
        behind = {two.user_id for two in line[at + 1 :]}
        usable = {port for port in free if one.may_use(port)}
        assert usable <= given_to.keys(), "it lies idle while he waits for it"
        assert not behind & {given_to[port] for port in usable}, "somebody behind was preferred"


@given(ROWS, LINE, CLOSED, st.sampled_from((None, *PORTS)))
def test_who_does_not_wait_gets_only_what_nobody_waits_for(
    rows: list[Instance], line: list[Waiting], closed: dict[int, str], assigned: int | None
) -> None:
    kept = scheduler.allot(rows, line, closed)
    try:
        got = scheduler.choose(rows, assigned, closed, kept).port
    except NoFreeCard:
        return
    assert got not in kept
    assert got not in closed
    assert not any(one.may_use(got) for one in line if one.user_id not in kept.values())


def test_any_leaves_the_only_port_of_somebody_behind() -> None:
    rows = [row(8001), row(8002, started_at=50.0)]
    assert scheduler.allot(rows, [waiting(1), waiting(2, 8001)]) == {8002: 1, 8001: 2}


def test_who_could_not_have_come_has_missed_nothing() -> None:
    line = [waiting(1, offered=8001)]
    closed = {8001: "held back"}
    found = scheduler.turns([row(8001)], line, closed, overdue={1})
    assert (found.missed, found.withdrawn, found.offered) == ((), (1,), {})
    found = scheduler.turns([row(8001)], line, {}, overdue={1})
    assert (found.missed, found.withdrawn, found.offered) == ((1,), (), {})


def test_a_place_counts_those_who_wait_for_the_same() -> None:
    line = [waiting(1, 8001), waiting(2), waiting(3, 8002), waiting(4, 8001)]
    places = {one.user_id: scheduler.place(line, one.user_id) for one in line}
    assert places == {1: (1, 3), 2: (2, 4), 3: (2, 2), 4: (3, 3)}


LENGTHS = [600.0, 1200.0, 1800.0, 2400.0, 3000.0]


def test_no_estimate_without_enough_to_go_by() -> None:
    rows, line = [row(8001, State.RUNNING, 0.0)], [waiting(1)]
    assert scheduler.estimates(rows, line, {}, LENGTHS[:4], now=60.0).get(1) is None
    assert scheduler.estimates(rows, line, {}, LENGTHS, now=60.0).get(1) == (1140.0, 2340.0)
    # Longer than any before: nobody can tell.
    assert scheduler.estimates(rows, line, {}, LENGTHS, now=4000.0).get(1) is None
    assert scheduler.estimates(rows, [waiting(1, 8009)], {}, LENGTHS, now=60.0).get(1) is None


@given(
    st.lists(st.floats(1, 90_000), min_size=5),
    st.lists(st.floats(0, 90_000), min_size=3, max_size=3),
)
def test_an_estimate_is_a_span_and_never_shorter_for_who_is_behind(
    lengths: list[float], began: list[float]
) -> None:
    rows = [row(p, State.RUNNING, at) for p, at in zip(PORTS, began, strict=True)]
    line = [waiting(user) for user in USERS]
    spans = [scheduler.estimates(rows, line, {}, lengths, now=90_000.0).get(user) for user in USERS]
    for ahead, behind in pairwise(spans):
        if behind is None:
            continue
        assert ahead is not None
        assert 0 <= ahead[0] <= ahead[1]
        assert ahead[0] <= behind[0]
        assert ahead[1] <= behind[1]


class LineMachine(RuleBasedStateMachine):
    """Users start, stop, join, leave, come late; ports are held back and released; in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.states = dict.fromkeys(PORTS, State.IDLE)
        self.holder: dict[int, int] = {}
        self.line: list[Waiting] = []
        self.closed: dict[int, str] = {}
        self.assigned = {user: (None, None, *PORTS, None)[user - 1] for user in USERS}
        self.number = 0
        self.ahead: dict[int, set[int]] = {}

    def rows(self) -> list[Instance]:
        return [row(port, state) for port, state in self.states.items()]

    def index(self, user: int) -> int | None:
        return next((n for n, one in enumerate(self.line) if one.user_id == user), None)

    @rule(user=st.sampled_from(USERS))
    def join(self, user: int) -> None:
        if user in self.holder or self.index(user) is not None:
            return
        self.number += 1
        self.line.append(replace(waiting(user, self.assigned[user]), id=self.number))
        self.ahead[user] = {one.user_id for one in self.line[:-1]}

    @rule(user=st.sampled_from(USERS))
    def leave(self, user: int) -> None:
        self.line = [one for one in self.line if one.user_id != user]

    @rule(user=st.sampled_from(USERS))
    def start(self, user: int) -> None:
        if user in self.holder:
            return
        given_to = scheduler.allot(self.rows(), self.line, self.closed)
        mine = next((port for port, owner in given_to.items() if owner == user), None)
        kept = given_to.keys() - {mine}
        wanted = mine or self.assigned[user]
        try:
            port = scheduler.choose(self.rows(), wanted, self.closed, kept).port
        except NoFreeCard:
            assert mine is None, "whose turn it is can start"
            return
        assert self.states[port] in STARTABLE
        assert port not in self.holder.values()
        assert port not in self.closed
        assert self.assigned[user] in (None, port)
        assert all(one.offered_port != port or one.user_id == user for one in self.line)
        self.states[port], self.holder[user] = State.STARTING, port
        self.leave(user)

    @precondition(lambda self: self.holder)
    @rule(data=st.data(), state=st.sampled_from((State.IDLE, State.FAILED)))
    def end(self, data: st.DataObject, state: State) -> None:
        user = data.draw(st.sampled_from(sorted(self.holder)))
        self.states[self.holder.pop(user)] = state

    @rule(port=st.sampled_from(PORTS))
    def hold_back_or_release(self, port: int) -> None:
        if self.closed.pop(port, None) is None:
            self.closed[port] = "held back"

    @rule(late=st.sets(st.sampled_from(USERS), max_size=2))
    def look(self, late: set[int]) -> None:
        found = scheduler.turns(self.rows(), self.line, self.closed, late)
        had = {one.user_id: one.offered_port for one in self.line}
        assert all(user in late and had[user] is not None for user in found.missed)
        assert not any(had[user] is None for user in found.withdrawn)
        self.line = [one for one in self.line if one.user_id not in found.missed]
        for user in found.withdrawn:
            self.offer(user, None)
        for user, port in found.offered.items():
            self.offer(user, port)
            before = self.line[: self.index(user)]
            passed = [w for w in before if w.may_use(port) and not w.offered_port]
            assert all(w.user_id in found.offered for w in passed), "who came earlier is served"
        self.after_a_look()

    def offer(self, user: int, port: int | None) -> None:
        at = self.index(user)
        assert at is not None
        self.line[at] = replace(self.line[at], offered_port=port)

    def after_a_look(self) -> None:
        offered = [one.offered_port for one in self.line if one.offered_port is not None]
        assert len(set(offered)) == len(offered)
        for one in self.line:
            if one.offered_port is None:
                for port, state in self.states.items():
                    free = state in STARTABLE and port not in self.closed
                    assert not (free and one.may_use(port)) or port in offered, "nobody starves"
            else:
                assert one.may_use(one.offered_port)
                assert self.states[one.offered_port] in STARTABLE
                assert one.offered_port not in self.closed
        again = scheduler.turns(self.rows(), self.line, self.closed, ())
        assert not again, "a second look changes nothing"

    @invariant()
    def each_port_has_one_user(self) -> None:
        assert len(set(self.holder.values())) == len(self.holder)
        held = {port for port, state in self.states.items() if state in HOLDS_PORT}
        assert held == set(self.holder.values())

    @invariant()
    def nobody_gets_in_front_of_anybody(self) -> None:
        for at, one in enumerate(self.line):
            now = {two.user_id for two in self.line[:at]}
            assert now <= self.ahead[one.user_id]
            self.ahead[one.user_id] = now


TestLine = LineMachine.TestCase
