"""What a user may ask for against the idle limit, and how far."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.errors import Conflict, NotRunning
from manager.idle import AWAKE, EXTENDED
from manager.lifecycle.grants import Grants
from manager.records import User
from tests.support.house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, EXTEND_MOST="2", KEEP_AWAKE_MAX="7200")
    yield built
    built.close()


@pytest.fixture
def ann(house: House) -> User:
    user = house.user("ann", 8001)
    house.run(user)
    return user


def _grants(house: House) -> Grants:
    return house.lifecycle.grants


def _held(house: House) -> tuple[float, str]:
    return _grants(house).held(house.row(8001).launch_id or "")


def _refusal(error: pytest.ExceptionInfo[Conflict]) -> str | None:
    return error.value.reason


def test_an_extension_moves_the_end_and_is_counted(house: House, ann: User) -> None:
    _grants(house).extend(ann, 100.0)
    assert _held(house) == (1900.0, EXTENDED)
    house.pass_time(1800)
    _grants(house).extend(ann, 100.0)
    assert _held(house) == (1900.0, EXTENDED)
    with pytest.raises(Conflict) as error:
        _grants(house).extend(ann, 100.0)
    assert _refusal(error) == "extend_used"
    house.pass_time(1901)
    assert _held(house) == (0.0, "")
    actions = [e.action for e in house.store.read(lambda t: t.audit.latest(2))]
    assert actions == ["idle_extend"] * 2


def test_it_is_shorter_while_others_wait_for_the_card(house: House, ann: User) -> None:
    row = house.row(8001)
    assert _grants(house).extension(row) == (1800, 2, False)
    house.lifecycle.line.join(house.user("eve", 8002))
    assert _grants(house).extension(row) == (1800, 2, False)
    house.lifecycle.line.join(house.user("bob", 8001))
    assert _grants(house).extension(row) == (300, 2, True)
    _grants(house).extend(ann, 60.0)
    assert _held(house) == (360.0, EXTENDED)


def test_none_is_given_where_nothing_counts_down_or_nothing_runs(house: House, ann: User) -> None:
    with pytest.raises(Conflict) as error:
        _grants(house).extend(ann, None)
    assert _refusal(error) == "extend_not_due"
    with pytest.raises(NotRunning):
        _grants(house).extend(house.user("bob"), 5.0)


def test_announced_work_holds_it_within_one_sum(house: House, ann: User) -> None:
    launch_id = house.row(8001).launch_id or ""
    _grants(house).keep_awake(ann, 3600)
    assert _held(house) == (3600.0, AWAKE)
    assert _grants(house).awake_until(launch_id) == house.clock.now + 3600
    house.pass_time(1800)
    # Taken back: what has not passed is not used up.
    _grants(house).end_awake(8001, by=ann, own=True)
    assert _held(house) == (0.0, "")
    assert _grants(house).awake_left(launch_id) == 5400
    with pytest.raises(Conflict) as error:
        _grants(house).keep_awake(ann, 5401)
    assert (_refusal(error), error.value.params) == ("awake_too_long", {"minutes": 90})
    _grants(house).keep_awake(ann, 5400)
    house.pass_time(5400)
    assert _grants(house).awake_until(launch_id) is None
    with pytest.raises(Conflict):
        _grants(house).keep_awake(ann, 60)


def test_an_admin_ends_or_shortens_it_and_nobody_else(house: House, ann: User) -> None:
    boss, bob = house.user("boss"), house.user("bob")
    _grants(house).keep_awake(ann, 3600)
    with pytest.raises(NotRunning):
        _grants(house).end_awake(8001, by=bob, own=True)
    _grants(house).end_awake(8001, by=boss, own=False, seconds=600)
    assert _held(house) == (600.0, AWAKE)
    _grants(house).end_awake(8001, by=boss, own=False)
    assert _held(house) == (0.0, "")
    with pytest.raises(NotRunning):
        _grants(house).end_awake(8001, by=boss, own=False)


def test_all_of_it_survives_the_manager(house: House, ann: User) -> None:
    _grants(house).keep_awake(ann, 600)
    _grants(house).extend(ann, 100.0)
    house.pass_time(300)
    house.begins()
    assert _held(house) == (1600.0, EXTENDED)
    launch_id = house.row(8001).launch_id or ""
    assert _grants(house).awake_until(launch_id) == house.clock.now + 300
    assert _grants(house).of(launch_id).extensions == 1


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_was_set_holds_nothing_longer_than_could_be_asked_for(
    house: House, ann: User, jump: float
) -> None:
    _grants(house).keep_awake(ann, 3600)
    house.clock.now += jump
    assert _held(house) == (3600.0, AWAKE)
    house.begins()
    assert _held(house)[0] == (7200.0 if jump < 0 else 0.0)


def test_the_next_session_begins_anew(house: House, ann: User) -> None:
    for _ in range(2):
        _grants(house).extend(ann, 10.0)
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.step(8001)
    house.launcher.end(house.row(8001).launch_id or "", -15)
    house.step(8001)
    assert house.store.read(lambda t: t.grants.all()) == []
    house.run(ann)
    assert _grants(house).extension(house.row(8001)) == (1800, 2, False)
