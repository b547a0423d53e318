"""The waiting line on a real store: turns, claims, clocks, and a manager that begins anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.accounts import Accounts
from manager.errors import AlreadyRunning, NoFreeCard, NotFound, NotPermitted
from manager.launcher.protocol import Liveness, ProcessReport
from manager.lifecycle.line import ADOPTED_CLAIM_S, TELL_AGAIN_S, UNDO_S, Line
from manager.records import User, Waiting
from manager.states import State
from tests.support.house import House

ONE_PORT = {"PORTS": "8001:9001:9081:1"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, **ONE_PORT, CLAIM_TIMEOUT="60")
    yield built
    built.close()


@pytest.fixture
def users(house: House) -> list[User]:
    return [house.user(name) for name in ("ann", "bob", "eve")]


def end(house: House, user: User) -> None:
    """See a user's session through to its end."""
    row = house.lifecycle.of_user(user.id)
    assert row is not None
    house.lifecycle.stop(row.port, by=user, reason="user")
    house.launcher.reports[row.launch_id or ""] = ProcessReport(Liveness.GONE, exit_code=0)
    house.step(row.port)


def offers(house: House) -> dict[str, int | None]:
    return {one.username: one.offered_port for one in house.lifecycle.line.all()}


def place(house: House, user: User) -> Waiting:
    found = house.lifecycle.line.of_user(user.id)
    assert found is not None
    return found


def test_the_first_in_line_gets_the_port_and_nobody_else(house: House, users: list[User]) -> None:
    ann, bob, eve = users
    house.run(ann)
    house.lifecycle.line.join(bob)
    house.lifecycle.line.join(eve)
    house.lifecycle.serve_line()
    assert offers(house) == {"bob": None, "eve": None}
    end(house, ann)
    # Even before the watch has looked again: who just had a session does not get in front.
    with pytest.raises(NoFreeCard) as refusal:
        house.lifecycle.start(ann)
    assert refusal.value.key == "no_free_card.line"
    house.lifecycle.serve_line()
    assert offers(house) == {"bob": 8001, "eve": None}
    for other in (ann, eve):
        with pytest.raises(NoFreeCard):
            house.lifecycle.start(other)
    assert house.lifecycle.start(bob).user_id == bob.id
    assert offers(house) == {"eve": None}


def test_who_has_just_left_can_have_his_place_back(house: House, users: list[User]) -> None:
    ann, bob, eve = users
    line = house.lifecycle.line
    for user in users:
        line.join(user)
    before = place(house, ann)
    line.leave(ann.id, by=ann)
    house.pass_time(UNDO_S - 1)
    line.take_back(ann)
    assert place(house, ann) == before
    assert list(offers(house)) == ["ann", "bob", "eve"]
    # Only once, and only for some seconds.
    line.leave(bob.id, by=bob)
    house.pass_time(UNDO_S + 1)
    for user in (bob, eve):
        with pytest.raises(NotFound) as refusal:
            line.take_back(user)
        assert refusal.value.key == "not_found.line_place"
    assert list(offers(house)) == ["ann", "eve"]


def test_a_place_is_not_had_back_from_an_admin_nor_twice(house: House, users: list[User]) -> None:
    ann, bob, admin = users
    line = house.lifecycle.line
    line.join(ann)
    line.join(bob)
    line.leave(ann.id, by=ann)
    # He has joined again, at the end: that is where he stays.
    line.join(ann)
    line.take_back(ann)
    assert list(offers(house)) == ["bob", "ann"]
    line.leave(bob.id, by=admin)
    with pytest.raises(NotFound):
        line.take_back(bob)


def test_what_was_kept_for_who_left_is_not_taken_from_the_next(
    house: House, users: list[User]
) -> None:
    ann, bob, _ = users
    line = house.lifecycle.line
    line.join(ann)
    line.join(bob)
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": 8001, "bob": None}
    line.leave(ann.id, by=ann)
    house.lifecycle.serve_line()
    assert offers(house) == {"bob": 8001}
    line.take_back(ann)
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": None, "bob": 8001}


def test_nobody_has_a_place_back_beside_an_instance(house: House, users: list[User]) -> None:
    ann = users[0]
    house.lifecycle.line.join(ann)
    house.lifecycle.line.leave(ann.id, by=ann)
    house.run(ann)
    with pytest.raises(AlreadyRunning):
        house.lifecycle.line.take_back(ann)
    assert offers(house) == {}


def test_who_does_not_come_loses_the_turn_to_the_next(house: House, users: list[User]) -> None:
    ann, bob, _ = users
    house.lifecycle.line.join(ann)
    house.lifecycle.line.join(bob)
    house.lifecycle.serve_line()
    house.pass_time(59)
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": 8001, "bob": None}
    assert house.lifecycle.line.seconds_left(place(house, ann)) == 1
    house.pass_time(2)
    house.published.clear()
    house.lifecycle.serve_line()
    assert offers(house) == {"bob": 8001}
    assert place(house, ann).missed_at == house.clock.now
    assert house.published == [(frozenset({8001}), frozenset({ann.id, bob.id}))]
    # He joins again, at the end; and leaving also takes the note away.
    house.lifecycle.line.join(ann)
    assert list(offers(house)) == ["bob", "ann"]
    house.lifecycle.line.leave(ann.id, by=ann)
    assert house.lifecycle.line.of_user(ann.id) is None


def test_a_clock_that_is_set_takes_and_gives_no_time(house: House, users: list[User]) -> None:
    house.lifecycle.line.join(users[0])
    house.lifecycle.serve_line()
    house.clock.now += 86_400
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": 8001}
    house.clock.now -= 2 * 86_400
    house.monotonic.now += 61
    house.lifecycle.serve_line()
    assert offers(house) == {}


@pytest.mark.parametrize(
    ("away", "left"), [(0, 300), (20, 280), (500, ADOPTED_CLAIM_S), (-86_400, 300)]
)
def test_the_next_manager_keeps_the_line_and_the_offer(
    tmp_path: Path, away: float, left: float
) -> None:
    house = House(tmp_path, **ONE_PORT, CLAIM_TIMEOUT="300")
    ann, bob = house.user("ann"), house.user("bob")
    house.lifecycle.line.join(ann)
    house.lifecycle.line.join(bob)
    house.lifecycle.serve_line()
    house.clock.now += away
    house.begins()
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": 8001, "bob": None}
    assert house.lifecycle.line.seconds_left(place(house, ann)) == left
    house.monotonic.now += left + 1
    house.lifecycle.serve_line()
    assert offers(house) == {"bob": 8001}
    house.close()


def test_each_is_in_the_line_once_and_keeps_his_place(house: House, users: list[User]) -> None:
    ann, bob, _ = users
    house.run(users[2])
    house.lifecycle.line.join(ann)
    house.lifecycle.line.join(bob)
    house.lifecycle.line.join(ann)
    assert list(offers(house)) == ["ann", "bob"]
    with pytest.raises(AlreadyRunning):
        house.lifecycle.line.join(users[2])


def test_whoever_is_disabled_or_deleted_is_out_of_it(house: House, users: list[User]) -> None:
    ann, _, eve = users
    accounts = Accounts(house.settings, house.store)
    admin = house.user("admin")
    house.store.write(
        lambda t: t.users.set_rights(admin.id, is_admin=True, is_active=True, assigned_port=None)
    )
    for user in users:
        house.lifecycle.line.join(user)
    house.lifecycle.serve_line()
    accounts.delete_user(admin, ann.id)
    house.lifecycle.serve_line()
    assert offers(house) == {"bob": 8001, "eve": None}
    accounts.update_user(admin, eve.id, is_active=False)
    assert offers(house) == {"bob": 8001}
    for gone in (ann, eve):
        with pytest.raises(NotPermitted):
            house.lifecycle.line.join(gone)


def test_an_admin_removes_one(house: House, users: list[User]) -> None:
    ann, bob, eve = users
    house.lifecycle.line.join(ann)
    house.lifecycle.line.leave(ann.id, by=eve)
    assert offers(house) == {}
    with pytest.raises(NotFound):
        house.lifecycle.line.leave(bob.id, by=eve)
    house.lifecycle.line.leave(bob.id, by=bob)


def test_a_port_that_is_held_back_is_not_offered_and_no_place_is_lost(
    house: House, users: list[User]
) -> None:
    ann, bob, _ = users
    house.lifecycle.line.join(ann)
    house.lifecycle.line.join(bob)
    house.lifecycle.serve_line()
    house.gate.unavailable[8001] = "its ports are taken"
    house.pass_time(61)
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": None, "bob": None}
    del house.gate.unavailable[8001]
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": 8001, "bob": None}
    assert house.lifecycle.line.seconds_left(place(house, ann)) == 60


def test_what_is_held_back_serves_nobody_so_the_other_port_is_kept(tmp_path: Path) -> None:
    house = House(tmp_path, PORTS="8001:9001:9081:1,8002:9002:9082:2")
    ann, bob = house.user("ann"), house.user("bob")
    house.gate.unavailable[8001] = "its ports are taken"
    house.lifecycle.line.join(ann)
    # Before the watch has looked.
    with pytest.raises(NoFreeCard):
        house.lifecycle.start(bob)
    assert house.lifecycle.start(ann).port == 8002
    house.close()


def test_without_caddy_the_line_stands_still(house: House, users: list[User]) -> None:
    house.lifecycle.line.join(users[0])
    house.gate.running = False
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": None}


def test_nothing_is_offered_while_everything_ends(house: House, users: list[User]) -> None:
    house.lifecycle.line.join(users[0])
    house.lifecycle.stop_all()
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": None}


def test_an_assigned_port_that_is_gone_is_not_waited_for(house: House) -> None:
    with pytest.raises(NoFreeCard) as refusal:
        house.lifecycle.line.join(house.user("old", assigned_port=8009))
    assert refusal.value.key == "no_free_card.removed"


def test_an_offer_follows_the_account_to_another_port(tmp_path: Path) -> None:
    house = House(tmp_path)
    ann = house.user("ann", assigned_port=8001)
    house.lifecycle.line.join(ann)
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": 8001}
    house.store.write(
        lambda t: t.users.set_rights(ann.id, is_admin=False, is_active=True, assigned_port=8002)
    )
    house.lifecycle.serve_line()
    assert offers(house) == {"ann": 8002}
    assert house.lifecycle.start(ann).port == 8002
    house.close()


def test_automatic_starts_by_itself_and_tries_again(tmp_path: Path) -> None:
    house = House(tmp_path, **ONE_PORT, LINE_START="automatic", CLAIM_TIMEOUT="60")
    ann, bob = house.user("ann"), house.user("bob")
    house.run(ann)
    house.lifecycle.line.join(bob)
    house.lifecycle.serve_line()
    end(house, ann)
    house.lifecycle.serve_line()
    row = house.row(8001)
    assert (row.state, row.user_id) == (State.STARTING, bob.id)
    assert offers(house) == {}
    usage = house.lifecycle.last_usage(bob.id)
    assert usage is not None
    assert not usage.automatic
    house.close()


def test_a_restart_does_not_get_in_front_of_the_line(tmp_path: Path) -> None:
    house = House(tmp_path, **ONE_PORT, RESTART_POLICY="on-crash")
    ann, bob = house.user("ann"), house.user("bob")
    row = house.run(ann)
    house.lifecycle.line.join(bob)
    house.launcher.end(row.launch_id or "", 1)
    house.step(8001)
    assert house.lifecycle.restart_of(ann.id)
    house.lifecycle.serve_line()
    house.pass_time(6)
    house.lifecycle.restart_due()
    assert offers(house) == {"bob": 8001}
    restart = house.lifecycle.restart_of(ann.id)
    assert restart is not None
    assert restart.over == "taken"
    house.close()


def test_those_who_wait_are_told_again_now_and_then(house: House, users: list[User]) -> None:
    ann, bob, _ = users
    house.run(ann)
    house.lifecycle.line.join(bob)
    house.lifecycle.serve_line()
    house.published.clear()
    house.lifecycle.serve_line()
    assert house.published == []
    house.pass_time(TELL_AGAIN_S)
    house.lifecycle.serve_line()
    assert house.published == [(frozenset(), frozenset({bob.id}))]


def test_the_watch_looks_at_the_line(house: House, users: list[User]) -> None:
    house.lifecycle.line.join(users[0])
    house.watch.tick(0.0)
    assert offers(house) == {"ann": 8001}


def test_lengths_are_of_sessions_that_got_ready_and_ended(house: House, users: list[User]) -> None:
    house.run(users[0])
    assert list(house.lifecycle.line.lengths()) == []
    house.pass_time(300)
    end(house, users[0])
    assert list(house.lifecycle.line.lengths()) == [300.0]
    assert isinstance(house.lifecycle.line, Line)
