"""Restarts after a crash, and what is done with one that hangs: never in a loop, never on doubt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager import settings as settings_module
from manager.errors import NotRunning
from manager.launcher.activity import Activity
from manager.lifecycle import reasons
from manager.lifecycle.restarts import BACK_OFF_S, MOST, WINDOW_S, Restarts, deserves, recent
from manager.records import Instance, User
from manager.states import State
from tests.support.house import House
from tests.support.stand_ins import BUSY, IDLE, UNKNOWN, Clock
from tests.support.waiting import wait_until

STILL = Activity(100.0, 5000, False, frozenset({7}))
AT_WORK = Activity(103.0, 5000, False, frozenset({7}))


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[list[House]]:
    built: list[House] = []
    yield built
    for house in built:
        house.close()


def build(houses: list[House], tmp_path: Path, **environ: str) -> House:
    house = House(tmp_path, **{"RESTART_POLICY": "on-crash", **environ})
    houses.append(house)
    return house


@pytest.fixture
def house(houses: list[House], tmp_path: Path) -> House:
    return build(houses, tmp_path)


def run(house: House, user: User) -> Instance:
    house.lifecycle.start(user)
    return until_ready(house)


def until_ready(house: House, port: int = 8001) -> Instance:
    house.comfyui.answers[port] = IDLE
    house.step(port)
    assert house.step(port) == "ready"
    return house.row(port)


def crash(house: House, exit_code: int = -11, port: int = 8001) -> None:
    house.launcher.end(house.row(port).launch_id or "", exit_code)
    house.step(port)
    assert house.row(port).state is State.FAILED


def later(house: House, seconds: float) -> None:
    house.pass_time(seconds)
    house.lifecycle.restart_due()


# The policy.

CRASHES = st.lists(st.tuples(st.floats(0, 900), st.integers(-7200, 7200)), max_size=40)


@given(CRASHES)
def test_there_are_never_more_than_three_restarts_in_any_half_hour(
    crashes: list[tuple[float, int]],
) -> None:
    """Whatever happens when, also with a clock that jumps and at every crash a willing policy."""
    monotonic, wall = Clock(), Clock()
    restarts = Restarts(monotonic)
    begun: list[float] = []
    stored: list[float] = []
    for gap, jump in crashes:
        monotonic.now += gap
        wall.now += gap + jump
        plan = restarts.crashed(1, 8001, stored, wall.now)
        if plan.over:
            continue
        wait = plan.due - monotonic.now
        assert wait in BACK_OFF_S
        monotonic.now += wait
        wall.now += wait
        assert restarts.due() == [plan]
        restarts.began(1)
        begun.append(monotonic.now)
        stored.append(wall.now)
    for at in begun:
        assert recent((t for t in begun if t <= at), at) <= MOST


@given(st.lists(st.floats(0, 1e6), max_size=30))
def test_what_is_stored_counts_over_a_restart_of_the_manager(gaps: list[float]) -> None:
    wall = Clock()
    stored: list[float] = []
    for gap in gaps:
        wall.now += gap
        plan = Restarts(Clock()).crashed(1, 8001, stored, wall.now)
        if not plan.over:
            stored.append(wall.now)
    for at in stored:
        assert recent((t for t in stored if t <= at), at) <= MOST


def test_the_waiting_grows_and_then_it_is_given_up() -> None:
    clock = Clock()
    restarts = Restarts(clock)
    waits = []
    for _ in range(MOST):
        plan = restarts.crashed(1, 8001, (), 0.0)
        waits.append(plan.due - clock.now)
        clock.now = plan.due
        restarts.began(1)
    assert waits == [5, 15, 45]
    assert restarts.crashed(1, 8001, (), 0.0).over == "given_up"
    assert restarts.due() == []
    assert restarts.crashed(2, 8002, (), 0.0).over is None, "everybody has three of their own"
    clock.now += WINDOW_S
    assert restarts.crashed(1, 8001, (), 0.0).over is None


def _wants(end: str, kind: str, *, ready: bool = True, again: bool = False, **env: str) -> bool:
    settings = settings_module.load({"RESTART_POLICY": "on-crash", **env})
    return deserves(settings, end, kind, was_ready=ready, was_restart=again)


def test_who_is_started_again() -> None:
    assert _wants("died", reasons.SIGNAL)
    assert _wants("died", reasons.OUT_OF_MEMORY)
    assert not _wants("died", reasons.SIGNAL, RESTART_POLICY="never")
    assert not _wants("died", reasons.PYTHON_ERROR, ready=False), "it would fail again"
    assert _wants("died", reasons.PYTHON_ERROR, ready=False, again=True)
    for kind in reasons.HOPELESS:
        assert not _wants("died", kind)
    for end in ("user", "admin", "idle", "overdue", "launch_failed", "shutdown"):
        assert not _wants(end, reasons.SIGNAL)
    assert not _wants("hung", reasons.HUNG)
    assert not _wants("hung", reasons.HUNG, HANG_ACTION="stop")
    assert _wants("hung", reasons.HUNG, HANG_ACTION="restart", RESTART_POLICY="never")


# The lifecycle.


def test_a_crash_is_followed_by_a_start_on_the_same_port(house: House) -> None:
    ann = house.user("ann", 8002)
    house.lifecycle.start(ann)
    first = until_ready(house, 8002)
    crash(house, port=8002)
    waiting = house.lifecycle.restart_of(ann.id)
    assert waiting is not None
    assert (waiting.seconds, waiting.attempt, waiting.most, waiting.over) == (5, 1, 3, None)
    assert house.lifecycle.restart_on(8002) == waiting
    later(house, 4.9)
    assert house.lifecycle.of_user(ann.id) is None
    later(house, 0.2)
    second = until_ready(house, 8002)
    assert second.user_id == ann.id
    assert second.launch_id != first.launch_id
    assert second.token != first.token
    assert house.lifecycle.restart_of(ann.id) is None
    assert house.store.read(lambda t: t.usage.was_automatic(second.launch_id or ""))


def test_it_is_the_same_port_also_for_who_may_have_any(house: House) -> None:
    ann = house.user("ann")
    run(house, ann)
    crash(house)
    later(house, 5)
    assert [(row.port, row.user_id) for row in house.lifecycle.holding()] == [(8001, ann.id)]


def test_after_three_restarts_it_is_given_up_and_said(house: House) -> None:
    ann = house.user("ann", 8001)
    run(house, ann)
    for wait in (5, 15, 45):
        crash(house)
        later(house, wait)
        until_ready(house)
    crash(house)
    for _ in range(40):
        later(house, 45)
    given_up = house.lifecycle.restart_of(ann.id)
    assert given_up is not None
    assert given_up.over == "given_up"
    assert len(house.launcher.specs) == 4
    # A click is not a loop: the user may start, and then nothing is left of the message.
    run(house, ann)
    assert house.lifecycle.restart_of(ann.id) is None


def test_a_restart_that_dies_while_it_loads_goes_on_waiting_longer(house: House) -> None:
    ann = house.user("ann", 8001)
    run(house, ann)
    crash(house)
    later(house, 5)
    house.step(8001)
    crash(house, 1)
    waiting = house.lifecycle.restart_of(ann.id)
    assert waiting is not None
    assert (waiting.seconds, waiting.attempt) == (15, 2)


def test_a_first_start_that_fails_is_not_tried_again(house: House) -> None:
    ann = house.user("ann", 8001)
    house.lifecycle.start(ann)
    house.step(8001)
    house.launcher.output = "usage: main.py\nmain.py: error: unrecognized arguments: --x"
    crash(house, 2)
    assert house.row(8001).fault_kind == "bad_flag"
    assert house.lifecycle.restart_of(ann.id) is None
    house.launcher.stranger = True
    house.lifecycle.start(ann)
    house.step(8001)
    assert house.row(8001).fault_kind == "port_taken"
    assert house.lifecycle.restart_of(ann.id) is None


@pytest.mark.parametrize("reason", ["user", "admin"])
def test_what_somebody_stopped_stays_stopped(house: House, reason: str) -> None:
    ann = house.user("ann", 8001)
    row = run(house, ann)
    house.lifecycle.stop(8001, by=ann, reason=reason)
    house.launcher.end(row.launch_id or "", -11)
    house.step(8001)
    later(house, 100)
    assert house.row(8001).state is State.IDLE
    assert len(house.launcher.specs) == 1


def test_a_waiting_restart_can_be_cancelled(house: House) -> None:
    ann = house.user("ann", 8001)
    run(house, ann)
    crash(house)
    house.published.clear()
    assert house.lifecycle.cancel_restart(ann.id)
    assert house.published == [(frozenset({8001}), frozenset({ann.id}))]
    assert not house.lifecycle.cancel_restart(ann.id)
    later(house, 100)
    assert len(house.launcher.specs) == 1


def test_a_port_that_went_to_somebody_else_is_left_alone(house: House) -> None:
    ann = house.user("ann", 8001)
    run(house, ann)
    crash(house)
    bob = house.user("bob", 8001)
    assert house.lifecycle.start(bob).port == 8001
    later(house, 5)
    lost = house.lifecycle.restart_of(ann.id)
    assert lost is not None
    assert lost.over == "taken"
    assert house.row(8001).user_id == bob.id
    assert house.lifecycle.restart_on(8001) is None


def test_a_user_who_was_faster_is_not_started_twice(house: House) -> None:
    ann = house.user("ann", 8001)
    run(house, ann)
    crash(house)
    house.lifecycle.start(ann)
    later(house, 5)
    assert house.lifecycle.restart_of(ann.id) is None
    assert [row.user_id for row in house.lifecycle.holding()] == [ann.id]


def test_nobody_is_started_who_may_not_or_while_caddy_is_down(house: House) -> None:
    ann = house.user("ann", 8001)
    run(house, ann)
    crash(house)
    house.gate.running = False
    later(house, 20)
    assert house.lifecycle.restart_of(ann.id) is not None
    house.gate.running = True
    house.store.write(
        lambda t: t.users.set_rights(ann.id, is_admin=False, is_active=False, assigned_port=8001)
    )
    later(house, 1)
    assert house.lifecycle.restart_of(ann.id) is None
    assert house.lifecycle.holding() == []


def test_nothing_is_started_while_everything_is_shut_down(house: House) -> None:
    ann = house.user("ann", 8001)
    run(house, ann)
    crash(house)
    house.lifecycle.stop_all()
    later(house, 20)
    assert house.lifecycle.holding() == []


def test_a_new_manager_forgets_the_waiting_but_not_the_count(
    houses: list[House], tmp_path: Path
) -> None:
    house = build(houses, tmp_path)
    ann = house.user("ann", 8001)
    run(house, ann)
    for wait in (5, 15):
        crash(house)
        later(house, wait)
        until_ready(house)
    crash(house)
    again = build(houses, tmp_path)
    again.clock.now = house.clock.now
    again.lifecycle.restart_due()
    assert again.lifecycle.restart_of(ann.id) is None
    run(again, ann)
    crash(again)
    waiting = again.lifecycle.restart_of(ann.id)
    assert waiting is not None
    assert (waiting.seconds, waiting.attempt) == (45, 3)


# Hangs.


def hang(house: House, *activities: Activity | None) -> None:
    house.comfyui.answers[8001] = UNKNOWN
    house.launcher.activities = list(activities)


def silent(house: House, seconds: float) -> None:
    house.lifecycle.stop_if_hung(house.row(8001), seconds)


def test_by_default_a_hang_is_only_shown(house: House) -> None:
    run(house, house.user("ann", 8001))
    hang(house, STILL, STILL)
    for second in range(200):
        silent(house, 120.0 + second)
        house.pass_time(1)
    assert house.row(8001).state is State.RUNNING
    assert len(house.launcher.activities) == 2, "nobody even looked"


def test_one_that_does_nothing_is_ended_and_said_to_be_hung(
    houses: list[House], tmp_path: Path
) -> None:
    house = build(houses, tmp_path, HANG_ACTION="stop")
    ann = house.user("ann", 8001)
    row = run(house, ann)
    hang(house, STILL, STILL)
    silent(house, 119.9)
    assert len(house.launcher.activities) == 2, "too early to look"
    silent(house, 120.0)
    house.pass_time(9)
    silent(house, 129.0)
    assert house.row(8001).state is State.RUNNING
    house.pass_time(1)
    silent(house, 130.0)
    assert (house.row(8001).state, house.row(8001).stop_reason) == (State.STOPPING, "hung")
    house.launcher.end(row.launch_id or "", -15)
    house.step(8001)
    usage = house.lifecycle.last_usage(ann.id)
    assert usage is not None
    assert (usage.end_reason, usage.fault_kind) == ("hung", "hung")
    assert house.lifecycle.restart_of(ann.id) is None, "it was to be stopped, not restarted"


@pytest.mark.parametrize("second_look", [AT_WORK, None])
def test_one_at_work_or_of_which_nobody_can_tell_is_left_alone(
    houses: list[House], tmp_path: Path, second_look: Activity | None
) -> None:
    house = build(houses, tmp_path, HANG_ACTION="restart")
    run(house, house.user("ann", 8001))
    hang(house, STILL, second_look)
    for seconds in (120, 131):
        silent(house, seconds)
        house.pass_time(11)
    assert house.row(8001).state is State.RUNNING


@pytest.mark.parametrize("answer", [IDLE, BUSY])
def test_the_last_question_saves_one_that_answers_after_all(
    houses: list[House], tmp_path: Path, answer: object
) -> None:
    house = build(houses, tmp_path, HANG_ACTION="stop")
    run(house, house.user("ann", 8001))
    hang(house, STILL, STILL)
    silent(house, 120)
    house.pass_time(11)
    house.comfyui.answers[8001] = answer  # type: ignore[assignment]
    silent(house, 131)
    assert house.row(8001).state is State.RUNNING


def test_a_hang_with_restart_comes_back(houses: list[House], tmp_path: Path) -> None:
    house = build(houses, tmp_path, HANG_ACTION="restart", RESTART_POLICY="never")
    ann = house.user("ann", 8001)
    row = run(house, ann)
    hang(house, STILL, STILL)
    silent(house, 120)
    house.pass_time(10)
    silent(house, 130)
    house.launcher.end(row.launch_id or "", -15)
    house.step(8001)
    assert house.row(8001).state is State.FAILED
    later(house, 5)
    assert until_ready(house).user_id == ann.id


# The watch.


def tick(house: House, now: float) -> None:
    house.watch.tick(now)
    tracks = house.watch._tracks
    wait_until(lambda: not any(t.in_flight for t in list(tracks.values())), what="looks to end")


def test_a_crash_is_seen_by_the_next_look_and_its_restart_begins_in_time(house: House) -> None:
    ann = house.user("ann", 8001)
    row = run(house, ann)
    tick(house, 0.0)
    house.launcher.end(row.launch_id or "", -11)
    # A look a second: within two seconds means within two rounds.
    tick(house, 1.0)
    assert house.row(8001).state is State.FAILED
    house.pass_time(4)
    tick(house, 5.0)
    assert house.lifecycle.holding() == []
    house.pass_time(1)
    tick(house, 6.0)
    assert [held.user_id for held in house.lifecycle.holding()] == [ann.id]


def test_a_hang_is_shown_from_its_time_on_and_no_longer_than_it_lasts(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(house, house.user("ann", 8001))
    times = Clock()
    monkeypatch.setattr("manager.watch.time.monotonic", times)

    def look(second: int) -> float | None:
        times.now = 500.0 + second
        tick(house, float(second))
        reading = house.watch.reading(8001)
        assert reading is not None
        return reading.hung_since

    assert look(0) is None
    house.comfyui.answers[8001] = UNKNOWN
    assert look(119) is None
    since = look(120)
    assert since is not None
    assert look(121) == since, "it says when it began"
    house.comfyui.answers[8001] = BUSY
    assert look(122) is None


def test_with_no_time_given_nothing_is_called_hung(houses: list[House], tmp_path: Path) -> None:
    house = build(houses, tmp_path, HANG_TIMEOUT="0", HANG_ACTION="stop")
    run(house, house.user("ann", 8001))
    hang(house, STILL, STILL)
    for seconds in (1, 10_000, 20_000):
        silent(house, seconds)
        house.pass_time(11)
    assert house.row(8001).state is State.RUNNING


def test_a_hung_one_can_still_be_stopped_by_hand(houses: list[House], tmp_path: Path) -> None:
    house = build(houses, tmp_path, HANG_ACTION="stop")
    ann = house.user("ann", 8001)
    run(house, ann)
    hang(house, STILL, STILL)
    silent(house, 120)
    assert house.lifecycle.stop(8001, by=ann, reason="user").state is State.STOPPING
    with pytest.raises(NotRunning):
        house.lifecycle.stop(8001, by=ann, reason="user")
