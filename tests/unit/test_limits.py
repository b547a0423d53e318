"""What users are allowed, on a real store: days, longest sessions, grace, clocks that are set."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import days, settings
from manager.allowance import Allowance, allowance, time_left
from manager.comfyui import QueueAnswer
from manager.errors import LimitReached, NoFreeCard, NotFound
from manager.launcher.protocol import Liveness, ProcessReport
from manager.permits import UserLimits
from manager.records import Instance, User
from manager.scheduler import place
from manager.settings import Settings
from manager.states import State
from manager.store import Store
from manager.store.database import MIGRATIONS, statements
from manager.track import LONGEST_REST, Track
from tests.support.house import House
from tests.support.stand_ins import BUSY, IDLE, UNKNOWN

ONE_PORT = {"PORTS": "8001:9001:9081:1"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, **ONE_PORT, DAY_LIMIT="7200", SESSION_LIMIT="3600")
    # Noon, so that no test runs into another day by chance.
    noon = days.begin_of(days.day_of(built.clock.now)) + 12 * 3600
    built.clock.now = noon
    yield built
    built.close()


@pytest.fixture
def ann(house: House) -> User:
    return house.user("ann")


def look(house: House) -> Instance:
    """Have the watch look at the instance once, with the rest of a round."""
    house.watch._look_at(house.row(8001), house.watch._tracks[8001])
    return house.row(8001)


def running(house: House, user: User) -> Instance:
    row = house.run(user)
    house.watch._begin(row, 0.0)
    house.watch._checks.shutdown(wait=True)
    house.watch._tracks[8001].in_flight = False
    return row


def end(house: House, user: User) -> None:
    house.lifecycle.stop(8001, by=user, reason="user")
    gone(house)


def gone(house: House) -> None:
    launch_id = house.row(8001).launch_id or ""
    house.launcher.reports[launch_id] = ProcessReport(Liveness.GONE, exit_code=0)
    house.step(8001)


def test_own_limits_go_before_the_settings(tmp_path: Path) -> None:
    built = settings.load(
        {"COMFYUI_PATH": str(tmp_path), "DAY_LIMIT": "7200", "SESSION_LIMIT": "60"}, root=tmp_path
    )
    assert allowance(UserLimits(1), built) == Allowance("normal", 1, 7200, 60, 0)
    own = UserLimits(1, "high", 0, 0, 90)
    assert allowance(own, built) == Allowance("high", 0, 0, 90, 0)


@given(
    st.builds(
        Allowance,
        st.just("low"),
        st.just(1),
        st.integers(0, 9000),
        st.integers(0, 9000),
        st.just(0),
    ),
    st.floats(0, 9000),
    st.floats(0, 9000),
    st.floats(0, 90_000),
)
def test_the_limit_that_comes_first_counts(
    allowed: Allowance, age: float, earlier: float, day_left: float
) -> None:
    used = age + earlier
    left = time_left(allowed, age=age, used=used, day_left=day_left, grace=0)
    if left is None:
        assert not allowed.day_limit
        assert not allowed.session_limit
        return
    if allowed.session_limit:
        assert left.seconds <= allowed.session_limit - age
    if allowed.day_limit and allowed.day_limit - used <= day_left:
        assert left.seconds <= allowed.day_limit - used
    assert left.over == (left.seconds <= 0)
    assert not left.shut


def test_at_its_end_a_session_without_work_ends_and_says_why(house: House, ann: User) -> None:
    running(house, ann)
    house.pass_time(3599)
    assert look(house).state is State.RUNNING
    house.pass_time(1)
    row = look(house)
    assert (row.state, row.stop_reason) == (State.STOPPING, "time_limit")
    gone(house)
    usage = house.lifecycle.last_usage(ann.id)
    assert usage is not None
    assert (usage.end_reason, usage.fault) == ("time_limit", None)
    # There is an hour left for today.
    assert house.lifecycle.start(ann).state is State.STARTING


@pytest.mark.parametrize("answer", [BUSY, UNKNOWN])
def test_what_works_is_not_ended_however_long_it_takes(
    house: House, ann: User, answer: QueueAnswer
) -> None:
    running(house, ann)
    house.comfyui.answers[8001] = answer
    house.gate.applied.clear()
    for _ in range(10):
        house.pass_time(3600)
        assert look(house).state is State.RUNNING
    house.lifecycle.keep_doors()
    assert all(8001 in openings for openings in house.gate.applied), "his connections were cut"
    left = house.lifecycle.limits.time(house.row(8001))
    assert left is not None
    assert left.over
    assert not left.shut
    assert 8001 in house.gate.open
    house.comfyui.answers[8001] = IDLE
    # One that gave no answer is asked more rarely.
    stops = [look(house).stop_reason for _ in range(LONGEST_REST)]
    assert stops[-1] == "time_limit"


def test_work_that_comes_at_the_last_moment_goes_on(house: House, ann: User) -> None:
    running(house, ann)
    house.pass_time(3600)
    # Idle when the watch asks, at work when it is asked once more.
    house.comfyui.then[8001] = BUSY
    assert look(house).state is State.RUNNING
    assert 8001 in house.gate.open


def test_after_the_grace_the_gate_closes_and_the_queue_is_worked_off(tmp_path: Path) -> None:
    house = House(tmp_path, **ONE_PORT, SESSION_LIMIT="3600", LIMIT_GRACE="600")
    ann = house.user("ann")
    running(house, ann)
    house.comfyui.answers[8001] = BUSY
    house.pass_time(3600 + 599)
    house.lifecycle.keep_doors()
    assert 8001 in house.gate.open
    house.pass_time(1)
    house.lifecycle.keep_doors()
    assert house.gate.open == {}
    assert house.lifecycle.openings() == {}
    assert look(house).state is State.RUNNING
    # The next manager keeps it closed; more time opens it again.
    house.begins()
    house.lifecycle.keep_doors()
    assert house.gate.open == {}
    house.lifecycle.limits.put(UserLimits(ann.id, session_limit=9000), by=ann)
    house.lifecycle.keep_doors()
    assert 8001 in house.gate.open
    house.lifecycle.limits.put(UserLimits(ann.id), by=ann)
    house.comfyui.answers[8001] = IDLE
    house.watch._tracks[8001] = Track(house.row(8001), 0.0)
    assert look(house).stop_reason == "time_limit"
    house.close()


def test_a_clock_that_is_set_ends_no_session(house: House, ann: User) -> None:
    house.lifecycle.limits.put(UserLimits(ann.id, day_limit=0), by=ann)
    running(house, ann)
    assert house.lifecycle.limits.is_over(house.row(8001)) is False
    house.clock.now += 30 * 86_400
    assert look(house).state is State.RUNNING
    house.clock.now -= 60 * 86_400
    house.pass_time(3600)
    assert look(house).stop_reason == "time_limit"


def test_the_next_manager_counts_on(house: House, ann: User) -> None:
    row = house.run(ann)
    house.pass_time(3000)
    house.begins()
    left = house.lifecycle.limits.time(row)
    assert left is not None
    assert (left.seconds, left.limit) == (600.0, "session")


def test_a_used_up_day_says_when_it_is_possible_again(house: House, ann: User) -> None:
    for _ in range(2):
        house.run(ann)
        house.pass_time(3600)
        end(house, ann)
    with pytest.raises(LimitReached) as refusal:
        house.lifecycle.start(ann)
    tomorrow = days.begin_of(days.earlier(days.day_of(house.clock.now), -1))
    assert refusal.value.key == "limit_reached.day"
    assert refusal.value.params["time"] == time.strftime("%Y-%m-%d %H:%M", time.localtime(tomorrow))
    with pytest.raises(LimitReached):
        house.lifecycle.line.join(ann)
    blocked = house.lifecycle.limits.blocked(ann.id)
    assert blocked is not None
    assert (blocked.reason, blocked.again_at) == ("day", tomorrow)
    house.pass_time(tomorrow - house.clock.now)
    assert house.lifecycle.limits.blocked(ann.id) is None
    assert house.lifecycle.start(ann)


def test_the_running_session_counts_into_the_day_and_midnight_begins_anew(
    house: House, ann: User
) -> None:
    house.lifecycle.limits.put(UserLimits(ann.id, session_limit=0), by=ann)
    house.run(ann)
    house.pass_time(3600)
    end(house, ann)
    row = running(house, ann)
    house.pass_time(1800)
    limits = house.lifecycle.limits
    left = limits.time(row)
    assert left is not None
    assert (left.seconds, left.limit) == (1800.0, "day")
    tomorrow = days.begin_of(days.earlier(days.day_of(house.clock.now), -1))
    house.pass_time(tomorrow - house.clock.now - 60)
    assert limits.is_over(row)
    house.pass_time(120)
    left = limits.time(row)
    assert left is not None
    assert left.seconds == 7200 - 60


def test_nobody_starts_whom_an_admin_lets_start_nothing(house: House, ann: User) -> None:
    house.lifecycle.line.join(ann)
    house.lifecycle.limits.put(UserLimits(ann.id, sessions_at_once=0), by=ann)
    assert house.lifecycle.line.of_user(ann.id) is None
    for act in (house.lifecycle.start, house.lifecycle.line.join):
        with pytest.raises(LimitReached) as refusal:
            act(ann)
        assert refusal.value.key == "limit_reached.sessions"
    house.lifecycle.limits.put(UserLimits(ann.id, sessions_at_once=1), by=ann)
    assert house.lifecycle.start(ann)
    audit = house.store.read(
        lambda t: t.audit._connection.execute(
            "SELECT subject, detail FROM audit WHERE action = 'limits_changed' ORDER BY id"
        ).fetchall()
    )
    assert tuple(audit[0]) == (
        "ann",
        "priority=normal sessions_at_once=0 day_limit=default session_limit=default "
        "disk_limit=default",
    )


def test_what_crashed_when_the_time_was_over_is_not_started_again(tmp_path: Path) -> None:
    house = House(tmp_path, **ONE_PORT, RESTART_POLICY="on-crash", DAY_LIMIT="600")
    house.clock.now = days.begin_of(days.day_of(house.clock.now)) + 12 * 3600
    ann = house.user("ann")
    row = house.run(ann)
    house.pass_time(600)
    house.launcher.end(row.launch_id or "", 1)
    house.step(8001)
    assert house.lifecycle.restart_of(ann.id)
    house.pass_time(6)
    house.lifecycle.restart_due()
    assert house.lifecycle.restart_of(ann.id) is None
    assert house.row(8001).state is State.FAILED
    house.close()


def test_limits_of_nobody_are_refused(house: House, ann: User) -> None:
    with pytest.raises(NotFound):
        house.lifecycle.limits.put(UserLimits(99), by=ann)


def test_limits_go_with_their_user(house: House, ann: User) -> None:
    house.lifecycle.limits.put(UserLimits(ann.id, "high"), by=ann)
    house.store.write(lambda t: t.users.delete(ann.id))
    assert house.store.read(lambda t: t.limits.all()) == []


def test_an_older_database_gets_the_tables_and_keeps_its_line(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    connection = sqlite3.connect(path, isolation_level=None)
    for script in sorted(MIGRATIONS.glob("[0-9]*.sql")):
        if script.name < "0011":
            for statement in statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
    connection.execute("INSERT INTO users (username, password_hash) VALUES ('ann', 'h')")
    connection.execute("INSERT INTO line (user_id, joined_at) VALUES (1, 5.0)")
    connection.execute("PRAGMA user_version = 10")
    connection.close()
    store = Store(path, 1)
    (waits,) = store.read(lambda t: t.line.waiting())
    assert (waits.username, waits.priority, waits.served_at) == ("ann", "normal", None)
    assert store.read(lambda t: t.limits.of_user(1)) == UserLimits(1)
    assert store.read(lambda t: t.reservations.all()) == []
    store.close()


def test_without_limits_nothing_is_asked_of_the_database(tmp_path: Path) -> None:
    house = House(tmp_path, **ONE_PORT)
    ann = house.user("ann")
    row = house.run(ann)
    assert house.lifecycle.limits.time(row) is None
    house.store.close()
    assert house.lifecycle.limits.time(row) is None


def test_the_settings_have_no_limit_as_shipped() -> None:
    shipped = Settings()
    assert (shipped.sessions_at_once, shipped.day_limit, shipped.session_limit) == (1, 0, 0)


def test_who_may_no_longer_start_leaves_the_line_when_his_turn_comes(tmp_path: Path) -> None:
    house = House(tmp_path, **ONE_PORT, LINE_START="automatic")
    ann = house.user("ann")
    house.lifecycle.line.join(ann)
    # As if the settings had been changed while no manager ran.
    house.store.write(lambda t: t.limits.put(UserLimits(ann.id, sessions_at_once=0)))
    house.lifecycle.serve_line()
    assert house.lifecycle.line.of_user(ann.id) is None
    assert house.published[-1] == (frozenset(), frozenset({ann.id}))
    assert house.row(8001).state is State.IDLE
    house.close()


def test_the_line_is_served_in_the_order_it_shows_under_any_manager(tmp_path: Path) -> None:
    house = House(tmp_path, **ONE_PORT, LINE_AGEING="1800")
    users = {name: house.user(name) for name in ("eve", "low", "late", "high")}
    for name in ("low", "high"):
        house.lifecycle.limits.put(UserLimits(users[name].id, name), by=users["eve"])
    house.run(users["eve"])
    house.lifecycle.line.join(users["low"])
    house.pass_time(2500)
    house.lifecycle.line.join(users["late"])
    house.pass_time(1200)
    house.lifecycle.line.join(users["high"])
    wanted = ["low", "high", "late"]
    assert [one.username for one in house.lifecycle.line.all()] == wanted
    house.begins()
    assert [one.username for one in house.lifecycle.line.all()] == wanted
    # A clock that is set turns nobody round while a manager runs.
    house.clock.now -= 86_400
    assert [one.username for one in house.lifecycle.line.all()] == wanted
    ids = [users[name].id for name in wanted]
    assert [place(house.lifecycle.line.all(), user) for user in ids] == [(1, 3), (2, 3), (3, 3)]
    end(house, users["eve"])
    house.lifecycle.serve_line()
    assert [one.offered_port for one in house.lifecycle.line.all()] == [8001, None, None]
    for name in ("late", "high", "eve"):
        with pytest.raises(NoFreeCard):
            house.lifecycle.start(users[name])
    assert house.lifecycle.start(users["low"])
    house.close()
