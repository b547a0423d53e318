"""The order of the line by priority and waiting: pure, against whatever may happen."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from manager import scheduler
from manager.permits import Reservation
from manager.priorities import PRIORITIES, in_order
from manager.records import Instance, Waiting
from manager.states import State
from manager.terms import Terms

AGEING = 1800.0
PORTS = (8001, 8002)
USERS = range(1, 7)


def waiting(user: int, priority: str, joined_at: float, served_at: float | None = None) -> Waiting:
    return Waiting(user, user, f"u{user}", None, joined_at, priority=priority, served_at=served_at)


def names(line: list[Waiting], now: float) -> list[int]:
    waited = {one.id: now - one.joined_at for one in line}
    return [one.user_id for one in in_order(line, waited, AGEING)]


MOMENT = st.floats(0, 20_000)
LINE = st.lists(
    st.tuples(st.sampled_from(PRIORITIES), MOMENT, st.none() | MOMENT), max_size=12
).map(
    lambda rows: [
        waiting(number, priority, joined, served)
        for number, (priority, joined, served) in enumerate(sorted(rows, key=lambda r: r[1]))
    ]
)


def test_a_higher_class_passes_those_who_came_less_than_an_interval_before() -> None:
    line = [waiting(1, "low", 0), waiting(2, "normal", 100), waiting(3, "high", 1700)]
    assert names(line, 2000) == [3, 2, 1]
    line = [waiting(1, "normal", 0), waiting(2, "high", AGEING), waiting(3, "high", AGEING + 1)]
    assert names(line, 4000) == [1, 2, 3]
    line = [waiting(1, "low", 0), waiting(2, "high", 2 * AGEING - 1)]
    assert names(line, 4000) == [2, 1]
    assert names([line[0], replace(line[1], joined_at=2 * AGEING)], 4000) == [1, 2]


def test_who_has_just_had_a_session_passes_nobody_who_waited_for_its_end() -> None:
    line = [waiting(1, "low", 0), waiting(2, "high", 500, served_at=499), waiting(3, "high", 600)]
    assert names(line, 700) == [3, 1, 2]
    assert names([line[0], replace(line[1], served_at=-1), line[2]], 700) == [2, 3, 1]


@given(LINE, st.sampled_from(PRIORITIES), st.floats(0, 1e6))
def test_with_one_priority_it_is_first_come_first_served(
    line: list[Waiting], priority: str, now: float
) -> None:
    equal = [replace(one, priority=priority) for one in line]
    assert names(equal, now) == [one.user_id for one in line]


@given(LINE)
def test_who_passes_whom(line: list[Waiting]) -> None:
    order = names(line, 20_000)
    assert sorted(order) == [one.user_id for one in line]
    place = {user: at for at, user in enumerate(order)}
    for at, early in enumerate(line):
        for late in line[at + 1 :]:
            if place[late.user_id] > place[early.user_id]:
                continue
            ranks = PRIORITIES.index(early.priority), PRIORITIES.index(late.priority)
            just_served = early.served_at is not None and any(
                other.joined_at < early.served_at for other in line[:at]
            )
            assert late.joined_at - early.joined_at <= 2 * AGEING, "nobody starves"
            assert late.served_at is None or late.served_at <= early.joined_at
            # Within a class only who has just had a session is passed.
            assert ranks[0] > ranks[1] or just_served
            if not just_served:
                assert late.joined_at - early.joined_at <= (ranks[0] - ranks[1]) * AGEING


@given(LINE, st.floats(0, 1e5), st.floats(0, 1e5))
def test_waiting_changes_no_order(line: list[Waiting], now: float, later: float) -> None:
    assert names(line, now) == names(line, later)


@given(
    st.lists(st.tuples(st.sampled_from(PRIORITIES), st.floats(-1e5, 1e5)), max_size=9),
)
def test_clocks_that_are_set_turn_nobody_round_within_a_class(
    rows: list[tuple[str, float]],
) -> None:
    line = [waiting(n, priority, joined) for n, (priority, joined) in enumerate(rows)]
    order = names(line, 0.0)
    for priority in PRIORITIES:
        of_it = [user for user in order if rows[user][0] == priority]
        assert all(one < two for one, two in pairwise(of_it))


class Mixed(RuleBasedStateMachine):
    """Users of all classes join, start, stop; ports are reserved; a steady stream goes before."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.line: list[Waiting] = []
        self.holder: dict[int, int] = {}
        self.served_at: dict[int, float] = {}
        self.reserved: dict[int, Reservation] = {}
        self.passed: dict[int, set[int]] = {}

    def rows(self) -> list[Instance]:
        nothing = (None,) * 9
        return [
            Instance(p, State.RUNNING if p in self.holder else State.IDLE, *nothing, None, 0)
            for p in PORTS
        ]

    def order(self) -> list[Waiting]:
        return in_order(self.line, {w.id: self.now - w.joined_at for w in self.line}, AGEING)

    @rule(user=st.sampled_from(USERS), priority=st.sampled_from(PRIORITIES))
    def join(self, user: int, priority: str) -> None:
        there = {w.user_id for w in self.line} | set(self.holder.values())
        if user in there:
            return
        self.number += 1
        joined = waiting(user, priority, self.now, self.served_at.get(user))
        self.line.append(replace(joined, id=self.number))
        self.passed[user] = set()

    @rule(seconds=st.sampled_from((1.0, 600.0, 1800.0, 4000.0)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(port=st.sampled_from(PORTS), users=st.sets(st.sampled_from(USERS), max_size=2))
    def reserve(self, port: int, users: set[int]) -> None:
        self.reserved[port] = Reservation(port, "root", self.now, user_ids=frozenset(users))

    @rule(port=st.sampled_from(PORTS))
    def put_back(self, port: int) -> None:
        self.reserved.pop(port, None)

    @rule(port=st.sampled_from(PORTS))
    def end(self, port: int) -> None:
        user = self.holder.pop(port, None)
        if user is not None:
            self.served_at[user] = self.now

    @rule()
    def look(self) -> None:
        terms = Terms(self.reserved)
        given_to = scheduler.allot(self.rows(), self.order(), {}, terms)
        for port, user in given_to.items():
            assert port not in self.holder
            assert terms.allows(port, user), "a reserved card is for nobody else"
            self.note_the_passed(user, port, set(given_to.values()))
            self.holder[port] = user
            self.line = [w for w in self.line if w.user_id != user]
        for port in set(PORTS) - set(self.holder):
            assert not any(terms.allows(port, w.user_id) for w in self.line), "it lies idle"

    def note_the_passed(self, user: int, port: int, served: set[int]) -> None:
        mine = next(w for w in self.line if w.user_id == user)
        for other in self.line:
            if other.id < mine.id and other.user_id not in served:
                if port in self.reserved and other.user_id not in self.reserved[port].user_ids:
                    continue
                assert mine.joined_at - other.joined_at <= 2 * AGEING, "somebody starves"
                if mine.served_at is not None and mine.served_at > other.joined_at:
                    raise AssertionError("who has just had a session passes who waits")

    @invariant()
    def nobody_has_two(self) -> None:
        assert len(set(self.holder.values())) == len(self.holder)
        assert not set(self.holder.values()) & {w.user_id for w in self.line}


Mixed.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestMixed = Mixed.TestCase
