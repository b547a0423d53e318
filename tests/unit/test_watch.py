"""The watch: when it looks, what counts as idle, and that doubt never ends anybody's work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.comfyui import QueueAnswer, Work
from manager.records import Address
from manager.states import State
from manager.track import LOOK_LATE_S, LOOK_SOON_S, PART_OF_AGE, SLOTS, Track
from tests.support.house import House
from tests.support.stand_ins import BUSY, IDLE, UNKNOWN
from tests.support.waiting import wait_until
from tests.support.web import instance

LIMIT = 600


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, QUEUE_CHECK_INTERVAL="1", IDLE_TIMEOUT=str(LIMIT), MAX_WORKERS="4")
    yield built
    built.close()


def _run(house: House, name: str, assigned_port: int | None = None) -> int:
    return house.run(house.user(name, assigned_port)).port


def _tick(house: House, now: float) -> None:
    """One round, and the end of what it began."""
    house.watch.tick(now)
    tracks = house.watch._tracks
    wait_until(lambda: not any(t.in_flight for t in list(tracks.values())), what="looks to end")


def _track(house: House, seconds: float = 0) -> Track:
    _run(house, "ann")
    track = Track(house.row(8001), 0.0)
    track.idle_seconds = seconds
    return track


def test_idle_time_is_the_time_between_idle_answers(house: House) -> None:
    track = _track(house)
    for second in range(11):
        track.take(IDLE, float(second), 2.0)
    assert track.idle_seconds == 10


def test_work_sets_the_idle_time_to_nothing(house: House) -> None:
    track = _track(house, 500)
    assert track.take(BUSY, 1.0, 2.0)
    assert track.idle_seconds == 0
    assert not track.take(BUSY, 2.0, 2.0)


def test_what_is_unknown_neither_counts_nor_resets(house: House) -> None:
    track = _track(house, 500)
    track.take(IDLE, 0.0, 2.0)
    for second in range(1, 100):
        track.take(UNKNOWN, float(second), 2.0)
    assert track.idle_seconds == 500
    track.take(IDLE, 100.0, 2.0)
    assert track.idle_seconds == 500
    track.take(IDLE, 101.0, 2.0)
    assert track.idle_seconds == 501


def test_a_stalled_manager_does_not_count_its_own_sleep(house: House) -> None:
    track = _track(house)
    track.take(IDLE, 0.0, 2.0)
    track.take(IDLE, 3600.0, 2.0)
    assert track.idle_seconds == 2


ANSWERS = st.lists(
    st.tuples(st.sampled_from([IDLE, BUSY, UNKNOWN]), st.floats(0.01, 100)), max_size=60
)


@given(ANSWERS)
def test_idle_time_never_exceeds_the_time_since_the_last_work(
    steps: list[tuple[QueueAnswer, float]],
) -> None:
    track = Track.__new__(Track)
    track.idle_seconds, track.idle_seen_at, track.silent = 0.0, None, 0
    track.running = track.pending = track.answered_at = None
    track.checked_at = track.silent_since = None
    now = last_work = 0.0
    for answer, gap in steps:
        now += gap
        track.take(answer, now, 2.0)
        if answer.work is Work.BUSY:
            last_work = now
        assert 0 <= track.idle_seconds <= now - last_work + 1e-9


def test_it_looks_each_second_on_the_grid(house: House) -> None:
    port = _run(house, "ann")
    house.comfyui.asked.clear()
    # Rounds come late by up to 0.9 s; the looks stay one a second.
    for now in (0.0, 0.5, 1.3, 1.9, 2.9, 3.05, 4.0):
        _tick(house, now)
    assert house.comfyui.asked == [port] * 5


@given(now=st.floats(0, 1e7), interval=st.floats(0.1, 60), slot=st.integers(0, SLOTS - 1))
def test_checks_stand_on_the_clocks_own_grid(now: float, interval: float, slot: int) -> None:
    track = Track(instance(8001, State.RUNNING), now, slot)
    due = track.next_check(now, interval)
    assert now < due <= now + interval * 1.000001
    # However late a round comes, the next one is where it would have been.
    steps = (due - interval * slot / SLOTS) / interval
    assert steps == pytest.approx(round(steps), abs=1e-5)


def test_checks_are_spread_over_the_interval(house: House) -> None:
    for n in range(4):
        _run(house, f"u{n}")
    _tick(house, 0.0)
    assert sorted(track.slot for track in house.watch._tracks.values()) == [0, 1, 2, 3]


def test_one_that_starts_is_let_in_without_waiting_for_the_next_check(house: House) -> None:
    row = house.lifecycle.start(house.user("ann"))
    _tick(house, 100.0)
    assert house.watch._tracks[row.port].stage == "launched"
    _tick(house, 100.0 + LOOK_SOON_S)
    assert house.watch._tracks[row.port].stage == "loading"
    house.comfyui.answers[row.port] = IDLE
    _tick(house, 100.0 + 2 * LOOK_SOON_S)
    assert house.row(row.port).state is State.RUNNING
    assert house.watch._settings.queue_check_interval == 1


@given(now=st.floats(1, 1e9), age=st.floats(0, 1e4))
def test_a_start_is_looked_at_soon_at_first_and_never_rarely(now: float, age: float) -> None:
    track = Track(instance(1, state=State.STARTING), now - age)
    gap = track.next_look(now) - now
    assert gap + 1e-6 >= 0
    assert gap <= max(LOOK_SOON_S, min(LOOK_LATE_S, age / PART_OF_AGE)) + 1e-4


def test_one_that_gives_no_answer_is_asked_more_rarely_until_it_does(house: House) -> None:
    port = _run(house, "ann")
    house.comfyui.answers[port] = UNKNOWN
    asked = []
    for second in range(16):
        house.comfyui.asked.clear()
        _tick(house, float(second))
        asked.append(len(house.comfyui.asked))
    assert asked == [1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]
    house.comfyui.answers[port] = IDLE
    for second in range(16, 22):
        _tick(house, float(second))
    assert len(house.comfyui.asked) == 5


def test_a_rest_neither_hides_a_hang_nor_the_end_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now, time=time.time)
    monkeypatch.setattr("manager.watch.time", clock)
    house = House(tmp_path, HANG_TIMEOUT="8", MAX_WORKERS="4")
    try:
        port = _run(house, "ann")
        _tick(house, 0.0)
        house.comfyui.answers[port] = UNKNOWN
        for second in range(1, 9):
            now = float(second)
            _tick(house, now)
            reading = house.watch.reading(port)
            assert reading is not None
            assert (reading.hung_since is not None) is (second == 8)
        assert house.watch._tracks[port].rest, "the test is about a rest"
        house.launcher.end(house.row(port).launch_id or "", 1)
        _tick(house, 9.0)
        assert house.row(port).state is State.FAILED
    finally:
        house.close()


def test_the_idle_limit_ends_it_and_says_why(house: House) -> None:
    port = _run(house, "ann")
    _tick(house, 0.0)
    house.watch._tracks[port].idle_seconds = LIMIT - 0.5
    house.watch._tracks[port].idle_seen_at = None
    _tick(house, 1.0)
    assert house.row(port).state is State.RUNNING
    house.watch._tracks[port].idle_seconds = LIMIT
    _tick(house, 2.0)
    assert (house.row(port).state, house.row(port).stop_reason) == (State.STOPPING, "idle")


def test_work_found_at_the_last_question_starts_the_count_anew(house: House) -> None:
    port = _run(house, "ann")
    _tick(house, 0.0)
    house.watch._tracks[port].idle_seconds = LIMIT
    house.comfyui.then[port] = BUSY
    _tick(house, 1.0)
    assert house.row(port).state is State.RUNNING
    assert house.watch._tracks[port].idle_seconds == 0


def test_doubt_at_the_last_question_neither_ends_nor_resets(house: House) -> None:
    port = _run(house, "ann")
    _tick(house, 0.0)
    house.watch._tracks[port].idle_seconds = LIMIT
    house.comfyui.then[port] = UNKNOWN
    _tick(house, 1.0)
    assert house.row(port).state is State.RUNNING
    assert int(house.watch._tracks[port].idle_seconds) == LIMIT
    assert house.gate.open


def test_a_round_that_breaks_does_not_end_the_watch(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = []

    def tick(now: float) -> None:
        rounds.append(now)
        if len(rounds) == 3:
            stop.set()
        house.watch._wake.set()
        raise ZeroDivisionError("broken")

    stop = threading.Event()
    house.watch.tick = tick  # type: ignore[method-assign]
    house.watch.run(stop)
    assert len(rounds) == 3
    assert [r.message for r in caplog.records] == ["a round of the watch failed"] * 3


def test_jobs_too_short_to_be_met_count_as_work(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = _run(house, "ann")
    _tick(house, 0.0)
    monkeypatch.setattr("manager.watch.time.time", lambda: 5000.0)
    house.comfyui.worked_at = 4990.0
    house.watch._tracks[port].idle_seconds = LIMIT
    _tick(house, 1.0)
    assert house.row(port).state is State.RUNNING
    assert house.watch._tracks[port].idle_seconds == 10


@pytest.mark.parametrize("jump", [-7200.0, 7200.0])
def test_a_clock_that_jumps_neither_stretches_nor_ends_idleness(house: House, jump: float) -> None:
    track = _track(house, 100)
    track.take_history(5000.0, 5050.0, 0.0)
    assert track.idle_seconds == 50
    track.idle_seconds = 400
    track.take_history(5000.0, 5400.0 + jump, 350.0)
    assert track.idle_seconds == 400
    # A new job, by a clock that has jumped: it was after the last look, whatever the stamps say.
    track.take_history(5410.0 + jump, 5420.0, 370.0)
    assert track.idle_seconds <= 20


def test_a_silent_instance_is_never_ended_for_idleness(house: House) -> None:
    port = _run(house, "ann")
    _tick(house, 0.0)
    house.watch._tracks[port].idle_seconds = LIMIT + 100
    house.comfyui.answers[port] = UNKNOWN
    for second in range(1, 8):
        _tick(house, float(second))
    assert house.row(port).state is State.RUNNING
    reading = house.watch.reading(port)
    assert reading is not None
    assert not reading.responding
    assert reading.idle_left is None


def test_hung_instances_do_not_delay_the_others(house: House) -> None:
    ports = [_run(house, f"u{n}") for n in range(4)]
    _tick(house, 0.0)
    hung = threading.Event()
    real = house.comfyui.queue

    def queue(address: Address | None, secret: str | None, *, fresh: bool = False) -> QueueAnswer:
        if address != Address("127.0.0.1", ports[0]):
            hung.wait(30)
            return UNKNOWN
        return real(address, secret, fresh=fresh)

    house.comfyui.queue = queue  # type: ignore[method-assign]
    for track in house.watch._tracks.values():
        track.silent = int(track.port != ports[0])
    try:
        for second in range(1, 6):
            house.comfyui.asked.clear()
            house.watch.tick(float(second))
            wait_until(lambda: house.comfyui.asked == [ports[0]], what="the healthy one")
            # One of the workers may wait for the silent ones, no more.
            tracks = house.watch._tracks.values()
            assert sum(t.in_flight for t in tracks if t.port != ports[0]) == 1
        skipped = {t.port: t.skipped for t in house.watch._tracks.values()}
        assert skipped[ports[0]] == 0
        assert sum(skipped.values()) >= 12
    finally:
        hung.set()


def test_idle_times_are_written_now_and_then_and_only_then(house: House) -> None:
    port = _run(house, "ann")
    _tick(house, 0.0)
    house.watch._tracks[port].idle_seconds = 12
    house.comfyui.answers[port] = UNKNOWN
    for second in range(1, 30):
        _tick(house, float(second))
    assert house.row(port).idle_count == 0
    _tick(house, 30.0)
    assert house.row(port).idle_count == 12


def test_an_adopted_instance_keeps_its_idle_time(house: House, tmp_path: Path) -> None:
    port = _run(house, "ann")
    house.lifecycle.book.note({house.row(port).launch_id or "": 99}, [])
    again = House(tmp_path)
    again.launcher.reports, again.comfyui.answers = house.launcher.reports, {port: IDLE}
    _tick(again, 0.0)
    reading = again.watch.reading(port)
    assert reading is not None
    assert reading.idle_seconds == 99
    again.close()


def test_a_machine_at_rest_writes_nothing(house: House) -> None:
    written: list[object] = []
    real = house.store.write

    def write(work: object) -> object:
        written.append(work)
        return real(work)  # type: ignore[arg-type]

    house.store.write = write  # type: ignore[assignment]
    for second in range(100):
        _tick(house, float(second))
    assert not written


def test_the_next_user_gets_a_new_count(house: House) -> None:
    port = _run(house, "ann")
    _tick(house, 0.0)
    house.watch._tracks[port].idle_seconds = 50
    ann = house.store.read(lambda t: t.users.by_name("ann"))
    assert ann is not None
    house.lifecycle.stop(port, by=ann, reason="user")
    house.launcher.end(house.row(port).launch_id or "", -15)
    _tick(house, 1.0)
    assert house.row(port).state is State.IDLE
    _tick(house, 2.0)
    assert house.watch.reading(port) is None
    _run(house, "bob", assigned_port=port)
    _tick(house, 3.0)
    reading = house.watch.reading(port)
    assert reading is not None
    assert reading.idle_seconds == 0


def test_one_broken_look_does_not_end_the_watch(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = _run(house, "ann"), _run(house, "bob")
    real = house.lifecycle.step

    def step(row: object) -> str:
        if row.port == first:  # type: ignore[attr-defined]
            raise ZeroDivisionError("broken")
        return real(row)  # type: ignore[arg-type]

    house.lifecycle.step = step
    house.comfyui.asked.clear()
    _tick(house, 0.0)
    _tick(house, 1.0)
    assert house.comfyui.asked == [second, second]
    assert f"端口 {first}: the look failed" in caplog.text
