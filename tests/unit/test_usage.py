"""The record of use on a real store: waiting, totals, whose they are, how long they are kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import days
from manager.counts import Counted, Total
from manager.launcher.protocol import Liveness, ProcessReport
from manager.records import User
from manager.store import Store
from manager.store.database import MIGRATIONS, statements
from manager.store.totals import BEGINNING
from tests.support.house import House

HOUR = 3600.0
NOON = "2026-11-23"


pytestmark = pytest.mark.usefixtures("shanghai")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path)
    built.clock.now = days.begin_of(NOON) + 12 * HOUR
    yield built
    built.close()


def end(house: House, user: User) -> None:
    row = house.lifecycle.of_user(user.id)
    assert row is not None
    house.lifecycle.stop(row.port, by=user, reason="user")
    house.launcher.reports[row.launch_id or ""] = ProcessReport(Liveness.GONE, exit_code=0)
    house.step(row.port)


def session(house: House, user: User, hours: float, worked: float = 0, prompts: int = 0) -> None:
    row = house.run(user)
    house.pass_time(hours * HOUR)
    counted = Counted(
        row.launch_id or "",
        house.lifecycle.book.today(),
        worked,
        hours * HOUR - worked,
        0.0,
        prompts,
    )
    house.lifecycle.book.note({}, [counted])
    end(house, user)


def total(house: House, group: str, key: str, since: str = NOON) -> Total:
    return {one.key: one for one in house.lifecycle.book.totals(group, since)}[key]


def test_waiting_is_from_joining_the_line_to_the_start(tmp_path: Path) -> None:
    house = House(tmp_path, PORTS="8001:9001:9081:1", CLAIM_TIMEOUT="60")
    ann, bob = house.user("ann"), house.user("bob")
    house.run(ann)
    house.lifecycle.line.join(bob)
    house.pass_time(500)
    end(house, ann)
    house.lifecycle.serve_line()
    house.pass_time(20)
    house.run(bob)
    waits = {o.username: o.waited_seconds for o in house.lifecycle.book.sittings(BEGINNING, 9)}
    assert waits == {"ann": 0.0, "bob": 520.0}
    own = house.lifecycle.book.own(bob.id, 5)
    assert own.sittings[0].waited_seconds == 520
    # Who missed his turn is not in the line any more.
    house.lifecycle.line.join(ann)
    end(house, bob)
    house.lifecycle.serve_line()
    house.pass_time(61)
    house.lifecycle.serve_line()
    house.run(ann)
    assert house.lifecycle.book.own(ann.id, 5).sittings[0].waited_seconds == 0
    house.close()


def test_a_clock_that_was_set_back_gives_no_negative_wait(house: House) -> None:
    ann = house.user("ann")
    house.lifecycle.line.join(ann)
    house.clock.now -= 1000
    house.run(ann)
    assert house.lifecycle.book.own(ann.id, 5).sittings[0].waited_seconds == 0


def test_totals_by_user_day_and_card(house: House) -> None:
    ann, bob = house.user("ann", 8001), house.user("bob", 8002)
    session(house, ann, 2, worked=HOUR, prompts=5)
    session(house, bob, 1, worked=HOUR, prompts=1)
    session(house, ann, 1, prompts=2)
    one = total(house, "user", "ann")
    assert (one.sessions, one.held_seconds, one.prompts) == (2, 3 * HOUR, 7)
    assert (one.worked_seconds, one.idle_seconds, one.waited) == (HOUR, 2 * HOUR, 0)
    assert one.waited_median is None
    assert total(house, "card", "1").held_seconds == 3 * HOUR
    assert total(house, "card", "2").prompts == 1
    assert total(house, "day", NOON).sessions == 3


def test_hours_by_day_name_those_with_most_and_put_the_rest_together(house: House) -> None:
    ann, bob, carl = (house.user(name) for name in ("ann", "bob", "carl"))
    house.clock.now = days.begin_of(NOON) + 20 * HOUR
    session(house, ann, 1)
    session(house, bob, 2)
    session(house, carl, 3)
    next_day = days.earlier(NOON, -1)
    book = house.lifecycle.book
    found = [(one.day, one.username, one.held_seconds) for one in book.held_by_day(NOON, 1)]
    assert found == [
        (NOON, "carl", HOUR),
        (NOON, None, 3 * HOUR),
        (next_day, "carl", 2 * HOUR),
    ]
    everybody = [(one.day, one.username) for one in book.held_by_day(NOON, 9)]
    assert everybody == [(NOON, "carl"), (NOON, "bob"), (NOON, "ann"), (next_day, "carl")]
    assert [one.day for one in book.held_by_day(next_day, 1)] == [next_day]


def test_a_session_across_midnight_belongs_to_both_days_and_counts_once(house: House) -> None:
    ann = house.user("ann")
    house.clock.now = days.begin_of(NOON) + 23 * HOUR
    row = house.run(ann)
    house.pass_time(HOUR + 60)
    launch = row.launch_id or ""
    next_day = days.earlier(NOON, -1)
    counts = [Counted(launch, NOON, 600, 3000, 0, 2), Counted(launch, next_day, 60, 0, 0, 1)]
    house.lifecycle.book.note({}, counts)
    held = {one.key: one.held_seconds for one in house.lifecycle.book.totals("day", NOON)}
    assert held == {NOON: HOUR, next_day: 60}
    house.pass_time(HOUR)
    end(house, ann)
    held = {one.key: one.held_seconds for one in house.lifecycle.book.totals("day", NOON)}
    assert held == {NOON: HOUR, next_day: HOUR + 60}
    assert total(house, "user", "ann").sessions == 1
    assert total(house, "user", "ann", since=next_day).prompts == 1
    assert total(house, "day", next_day).sessions == 1


def test_the_median_is_of_those_who_waited(tmp_path: Path) -> None:
    house = House(tmp_path, PORTS="8001:9001:9081:1", CLAIM_TIMEOUT="60")
    house.clock.now = days.begin_of(NOON) + 12 * HOUR
    ann, bob = house.user("ann"), house.user("bob")
    for wait in (60, 240, 120):
        house.run(ann)
        house.lifecycle.line.join(bob)
        house.pass_time(wait)
        end(house, ann)
        house.lifecycle.serve_line()
        house.run(bob)
        end(house, bob)
    found = total(house, "card", "1")
    assert (found.sessions, found.waited, found.waited_median) == (6, 3, 120)
    assert total(house, "day", NOON).waited_median == 120
    assert total(house, "user", "bob").waited == 3
    assert total(house, "user", "ann").waited == 0
    house.close()


def test_the_next_manager_goes_on_counting(house: House) -> None:
    row = house.run(house.user("ann"))
    launch = row.launch_id or ""
    house.lifecycle.book.note({}, [Counted(launch, NOON, 10, 0, 0, 1, "a")])
    # The one after it hands over only what it has seen itself.
    house.lifecycle.book.note({}, [Counted(launch, NOON, 5, 2, 0, 1, "b")])
    found = total(house, "user", "ann")
    assert (found.worked_seconds, found.idle_seconds, found.prompts) == (15, 2, 2)
    assert house.lifecycle.book.last_prompt(launch) == "b"


def test_counts_that_come_late_are_added_and_the_end_stays(house: House) -> None:
    ann = house.user("ann")
    row = house.run(ann)
    house.pass_time(100)
    end(house, ann)
    house.pass_time(100)
    house.lifecycle.book.note({}, [Counted(row.launch_id or "", NOON, 7, 0, 0, 0)])
    found = total(house, "user", "ann")
    assert (found.held_seconds, found.worked_seconds) == (100, 7)
    house.lifecycle.book.note({}, [Counted("never was", NOON, 7, 0, 0, 0)])
    assert total(house, "day", NOON).worked_seconds == 7


def test_each_user_reads_his_own(house: House) -> None:
    ann, bob = house.user("ann", 8001), house.user("bob", 8002)
    house.clock.now = days.begin_of(days.earlier(NOON, 1)) + 12 * HOUR  # a Sunday
    session(house, ann, 4, prompts=9)
    house.clock.now = days.begin_of(NOON) + 12 * HOUR
    session(house, ann, 2, prompts=3)
    session(house, bob, 1, prompts=1)
    house.clock.now += 24 * HOUR
    session(house, ann, 1, prompts=1)
    own = house.lifecycle.book.own(ann.id, 2)
    assert (own.today.held_seconds, own.today.prompts) == (HOUR, 1)
    assert (own.week.held_seconds, own.week.prompts, own.week.sessions) == (3 * HOUR, 4, 2)
    assert [one.held_seconds for one in own.sittings] == [HOUR, 2 * HOUR]
    assert {one.username for one in own.sittings} == {"ann"}


def test_a_session_taken_over_from_an_earlier_version_counts_from_then(house: House) -> None:
    row = house.run(house.user("ann"))
    launch = row.launch_id or ""
    # As a database has it in which nothing was counted yet.
    connection = sqlite3.connect(house.settings.database_path)
    connection.execute("DELETE FROM usage_days")
    connection.execute("UPDATE usage SET last_prompt = NULL, waited_seconds = NULL")
    connection.commit()
    connection.close()
    assert house.lifecycle.book.last_prompt(launch) is None
    house.pass_time(60)
    house.lifecycle.book.note({}, [Counted(launch, NOON, 5, 0, 0, 1, "b")])
    (one,) = house.lifecycle.book.sittings(NOON, 5)
    assert (one.waited_seconds, one.held_seconds, one.prompts) == (None, 60, 1)


def test_old_sessions_are_removed_once_a_day_if_wanted(tmp_path: Path) -> None:
    house = House(tmp_path, USAGE_KEEP_DAYS="2")
    house.clock.now = days.begin_of(NOON) + 12 * HOUR
    ann, bob = house.user("ann"), house.user("bob")
    house.run(bob)  # goes on all the time
    for _ in range(4):
        session(house, ann, 1)
        house.lifecycle.book.note({}, [])
        house.pass_time(23 * HOUR)
    house.lifecycle.book.note({}, [])
    kept = [one.username for one in house.lifecycle.book.sittings(NOON, 9)]
    assert kept == ["ann", "ann", "bob"]
    with sqlite3.connect(house.settings.database_path) as connection:
        left = connection.execute("SELECT count(DISTINCT launch_id) FROM usage_days").fetchone()
    connection.close()
    assert left == (3,)
    house.close()


def test_nothing_is_removed_by_default(house: House) -> None:
    session(house, house.user("ann"), 1)
    house.pass_time(5000 * 24 * HOUR)
    house.lifecycle.book.note({}, [])
    assert len(house.lifecycle.book.sittings(BEGINNING, 9)) == 1


def test_sessions_of_an_earlier_version_keep_their_hours(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    midnight = days.begin_of(NOON)
    connection = sqlite3.connect(path)
    for script in sorted(MIGRATIONS.glob("000[1-7]*.sql")):
        for statement in statements(script.read_text(encoding="utf-8")):
            connection.execute(statement)
    connection.execute("PRAGMA user_version = 7")
    rows = [
        ("one", midnight - HOUR, midnight + 2.5 * HOUR),
        ("two", midnight - 30 * HOUR, midnight + 30 * HOUR),
        ("back", midnight, midnight - 5),
        ("none", midnight, None),
    ]
    connection.executemany(
        "INSERT INTO usage (launch_id, user_id, username, port, card, started_at, ended_at) "
        "VALUES (?, 2, 'ann', 8001, 1, ?, ?)",
        rows,
    )
    connection.commit()
    connection.close()
    store = Store(path, 1)
    held = {
        one.key: one.held_seconds for one in store.read(lambda t: t.totals.by("day", BEGINNING))
    }
    assert held == {
        days.earlier(NOON, 2): 6 * HOUR,
        days.earlier(NOON, 1): 25 * HOUR,
        NOON: 26.5 * HOUR,
        days.earlier(NOON, -1): 6 * HOUR,
    }
    assert {one.waited_seconds for one in store.read(lambda t: t.totals.sittings(BEGINNING, 9))}
    store.close()
