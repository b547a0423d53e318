"""Maintenance: nothing starts in any way, what runs goes on, and the line keeps its order."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st

from manager import cli, status
from manager.cli_maintenance import moment
from manager.errors import BadInput, NoFreeCard, NotFound, Refused
from manager.records import Instance, User, Waiting
from manager.scheduler import allot, choose, estimates, turns
from manager.states import HOLDS_PORT, State
from manager.terms import Terms
from tests.support.house import House
from tests.support.stand_ins import IDLE
from tests.unit.test_scheduler import ROWS, TAKEN, make_row

PORTS = {"PORTS": "8001:9001:9081:1,8002:9002:9082:2", "RESTART_POLICY": "on-crash"}
UNDER = Terms(maintenance=True)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, **PORTS)
    yield built
    built.close()


@pytest.fixture
def people(house: House) -> list[User]:
    return [house.user(name) for name in ("root", "ann", "bob", "eve")]


def refusal_of(house: House, user: User) -> str:
    with pytest.raises(NoFreeCard) as refusal:
        house.lifecycle.start(user)
    return refusal.value.key


def line(house: House) -> list[tuple[str, int | None]]:
    return [(one.username, one.offered_port) for one in house.lifecycle.line.all()]


def crash(house: House, port: int) -> None:
    house.launcher.end(house.row(port).launch_id or "", -11)
    house.step(port)
    assert house.row(port).state is State.FAILED


def audit(house: House) -> list[tuple[str, ...]]:
    rows = house.store.read(
        lambda t: t.audit._connection.execute(
            "SELECT actor, action, detail FROM audit WHERE action LIKE 'maintenance%' ORDER BY id"
        ).fetchall()
    )
    return [tuple(row) for row in rows]


# The rules.


@given(ROWS, TAKEN, st.one_of(st.none(), st.integers(8001, 8016)))
def test_no_port_is_given_out(
    rows: list[Instance], unavailable: dict[int, str], assigned: int | None
) -> None:
    with pytest.raises(NoFreeCard) as refusal:
        choose(rows, assigned, unavailable, terms=UNDER, user_id=1)
    assert refusal.value.key == "no_free_card.maintenance"


@given(ROWS, st.lists(st.integers(8001, 8016), unique=True))
def test_no_port_is_kept_for_anybody_and_nobody_misses_his_turn(
    rows: list[Instance], offered: list[int]
) -> None:
    waiting = [Waiting(n, n, f"u{n}", None, 0.0) for n in range(1, 20)]
    waiting = [
        replace(one, offered_port=port) for one, port in zip(waiting, offered, strict=False)
    ] + waiting[len(offered) :]
    assert allot(rows, waiting, {}, UNDER) == {}
    found = turns(rows, waiting, {}, overdue=range(20), terms=UNDER)
    assert (found.missed, found.offered) == ((), {})
    assert found.withdrawn == tuple(range(1, len(offered) + 1))


def test_there_is_no_estimate_of_an_end_that_nobody_knows() -> None:
    waits = Waiting(1, 1, "ann", None, 0.0)
    rows = [make_row(8001)]
    assert estimates(rows, [waits], {}, [60.0] * 9, 0.0).get(1) is not None
    assert estimates(rows, [waits], {}, [60.0] * 9, 0.0, UNDER).get(1) is None


# The house.


def test_what_runs_goes_on_and_nobody_else_starts(house: House, people: list[User]) -> None:
    root, ann, bob, _ = people
    row = house.run(ann)
    house.lifecycle.maintenance.begin("New fans", house.clock.now + 3600, by=root)
    assert refusal_of(house, bob) == "no_free_card.maintenance"
    assert house.step(row.port) == "ready"
    assert house.row(row.port).state is State.RUNNING
    assert row.port in house.gate.open
    house.lifecycle.maintenance.end(by=root)
    assert house.lifecycle.start(bob).state is State.STARTING


def test_what_is_starting_already_is_seen_through(house: House, people: list[User]) -> None:
    root, ann, *_ = people
    row = house.lifecycle.start(ann)
    house.lifecycle.maintenance.begin("", None, by=root)
    house.comfyui.answers[row.port] = IDLE
    house.step(row.port)
    assert house.step(row.port) == "ready"


def test_the_line_stands_still_and_goes_on_in_its_order(house: House, people: list[User]) -> None:
    root, ann, bob, eve = people
    for user in (ann, bob, eve):
        house.lifecycle.line.join(user)
    house.lifecycle.serve_line()
    assert line(house) == [("ann", 8001), ("bob", 8002), ("eve", None)]
    house.lifecycle.maintenance.begin("", None, by=root)
    # Also before the watch has looked again.
    assert refusal_of(house, ann) == "no_free_card.maintenance"
    for _ in range(3):
        house.lifecycle.serve_line()
        house.pass_time(house.settings.claim_timeout + 1)
    assert line(house) == [("ann", None), ("bob", None), ("eve", None)]
    house.lifecycle.line.join(root)
    house.lifecycle.maintenance.end(by=root)
    house.lifecycle.serve_line()
    assert line(house) == [("ann", 8001), ("bob", 8002), ("eve", None), ("root", None)]


def test_with_automatic_starts_the_line_starts_nobody(tmp_path: Path) -> None:
    house = House(tmp_path, **PORTS, LINE_START="automatic")
    ann = house.user("ann")
    house.lifecycle.maintenance.begin("", None, by=ann)
    house.lifecycle.line.join(ann)
    house.lifecycle.serve_line()
    assert house.lifecycle.holding() == []
    house.lifecycle.maintenance.end(by=ann)
    house.lifecycle.serve_line()
    assert [row.user_id for row in house.lifecycle.holding()] == [ann.id]
    house.close()


def test_what_crashes_is_not_restarted_and_its_user_is_told(
    house: House, people: list[User]
) -> None:
    root, ann, bob, _ = people
    row = house.run(ann)
    house.lifecycle.maintenance.begin("", None, by=root)
    crash(house, row.port)
    house.pass_time(10)
    house.lifecycle.restart_due()
    assert house.lifecycle.holding() == []
    told = house.lifecycle.restart_of(ann.id)
    assert told is not None
    assert told.over == "maintenance"
    house.lifecycle.line.join(bob)
    house.lifecycle.maintenance.end(by=root)
    house.pass_time(100)
    house.lifecycle.restart_due()
    house.lifecycle.serve_line()
    # Afterwards the line comes first, not who crashed hours ago.
    assert house.lifecycle.holding() == []
    assert line(house) == [("bob", 8002)]


def test_a_maintenance_that_is_over_before_the_restart_is_due_changes_nothing(
    house: House, people: list[User]
) -> None:
    root, ann, *_ = people
    row = house.run(ann)
    house.lifecycle.maintenance.begin("", None, by=root)
    crash(house, row.port)
    house.lifecycle.restart_due()
    house.lifecycle.maintenance.end(by=root)
    house.pass_time(10)
    house.lifecycle.restart_due()
    assert [row.user_id for row in house.lifecycle.holding()] == [ann.id]


def test_it_outlives_the_manager_and_the_planned_time(house: House, people: list[User]) -> None:
    root, ann, *_ = people
    house.lifecycle.maintenance.begin("New fans", house.clock.now + 60, by=root)
    house.begins()
    house.pass_time(3600)
    house.lifecycle.serve_line()
    assert refusal_of(house, ann) == "no_free_card.maintenance"


def test_it_is_said_anew_audited_and_told_to_everybody(house: House, people: list[User]) -> None:
    root, *_ = people
    switch = house.lifecycle.maintenance
    begun = switch.begin("New fans", None, by=root)
    house.pass_time(60)
    again = switch.begin(" Longer ", house.clock.now + 60, by=root)
    assert (again.begun_at, again.reason) == (begun.begun_at, "Longer")
    switch.end(by=root)
    with pytest.raises(NotFound):
        switch.end(by=root)
    assert audit(house) == [
        ("root", "maintenance_on", "open end: New fans"),
        ("root", "maintenance_on", f"until {house.clock.now + 60:.0f}: Longer"),
        ("root", "maintenance_off", ""),
    ]
    everybody = frozenset(user.id for user in people)
    assert house.published[-3:] == [(frozenset(), everybody)] * 3


@pytest.mark.parametrize("reason", ["x" * 301, "two\nlines", "\u202egnirts"])
def test_a_reason_is_one_short_line(house: House, people: list[User], reason: str) -> None:
    with pytest.raises(BadInput):
        house.lifecycle.maintenance.begin(reason, None, by=people[0])
    with pytest.raises(BadInput, match="passed"):
        house.lifecycle.maintenance.begin("", house.clock.now, by=people[0])
    assert house.lifecycle.maintenance.now() is None


ACTS = st.lists(
    st.tuples(
        st.sampled_from(("start", "join", "serve", "restart", "crash", "stop", "on", "off", "new")),
        st.integers(1, 3),
    ),
    max_size=40,
)


@property_settings(max_examples=40, deadline=None)
@given(ACTS)
def test_during_maintenance_no_start_happens_in_any_way(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int]]
) -> None:
    """Whatever people, time, crashes and restarts of the manager do, in any order."""
    house = House(tmp_path_factory.mktemp("house"), **PORTS, LINE_START="automatic")
    root, *users = [house.user(name) for name in ("root", "ann", "bob", "eve")]
    for act, number in acts:
        before = {row.launch_id for row in house.lifecycle.holding()}
        under = house.lifecycle.maintenance.now() is not None
        _do(house, act, users[number - 1], root)
        under = under and house.lifecycle.maintenance.now() is not None
        after = {row.launch_id for row in house.lifecycle.holding()}
        assert not (under and after - before), act
    house.close()


def _do(house: House, act: str, user: User, root: User) -> None:
    lifecycle = house.lifecycle

    def serve() -> None:
        house.pass_time(100)
        lifecycle.serve_line()

    def restart() -> None:
        house.pass_time(46)
        lifecycle.restart_due()

    def ends(exit_code: int) -> None:
        row = lifecycle.of_user(user.id)
        if row is None or row.state is not State.RUNNING:
            return
        if exit_code == 0:
            lifecycle.stop(row.port, by=user, reason="user")
        house.launcher.end(row.launch_id or "", exit_code)
        house.step(row.port)

    acts: dict[str, Callable[[], object]] = {
        "start": lambda: house.run(user),
        "join": lambda: lifecycle.line.join(user),
        "serve": serve,
        "restart": restart,
        "crash": lambda: ends(-11),
        "stop": lambda: ends(0),
        "on": lambda: lifecycle.maintenance.begin("", None, by=root),
        "off": lambda: lifecycle.maintenance.end(by=root),
        "new": house.begins,
    }
    with contextlib.suppress(Refused):
        acts[act]()


# The command.

NOON = dt.datetime(2026, 12, 1, 12, 0, tzinfo=dt.timezone.utc)


@pytest.mark.parametrize(
    ("word", "hours"),
    [("13:30", 1.5), ("12:00", 24), ("9:00", 21), ("2026-12-01T14:00:00+00:00", 2)],
)
def test_a_time_is_the_next_one_or_a_whole_date(word: str, hours: float) -> None:
    assert moment(word, NOON) == NOON.timestamp() + hours * 3600


@pytest.mark.parametrize("word", ["25:00", "tomorrow", "", "12"])
def test_what_is_no_time_is_refused(word: str) -> None:
    with pytest.raises(BadInput, match="--until is"):
        moment(word, NOON)


def test_the_command_line_begins_says_and_ends_it(
    house: House, people: list[User], capsys: pytest.CaptureFixture[str]
) -> None:
    _, ann, *_ = people
    row = house.run(ann)

    def said(*words: str) -> str:
        assert cli.main(house.settings, ["maintenance", *words]) == 0
        return capsys.readouterr().out

    assert said("status") == "maintenance: off\n"
    text = said("on", "--reason", "New fans", "--until", "2037-01-01 10:00")
    assert "planned until 2037-01-01 10:00: New fans" in text
    assert "1 ComfyUI still there" in text
    assert refusal_of(house, people[2]) == "no_free_card.maintenance"
    house.lifecycle.stop(row.port, by=ann, reason="user")
    house.launcher.end(row.launch_id or "", 0)
    house.step(row.port)
    assert house.row(row.port).state not in HOLDS_PORT
    assert "safe to stop now" in said("status")
    found = json.loads(said("status", "--json"))
    assert (found["on"], found["left"], found["empty"]) == (True, 0, True)
    lines = "\n".join(status.report_lines(status.report(house.settings)))
    assert "maintenance: on since" in lines
    assert "safe to stop now" in lines
    assert "off" in said("off")
    assert cli.main(house.settings, ["maintenance", "off"]) == 1
    assert "maintenance" not in "\n".join(status.report_lines(status.report(house.settings)))
