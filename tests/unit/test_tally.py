"""What is counted of a session: seconds by what the queue said, and finished prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manager.comfyui import QueueAnswer, Work
from manager.counts import Counted
from manager.errors import StoreFailed
from manager.records import Instance
from manager.store.totals import BEGINNING
from manager.tally import LOOKS, Finished, Tally
from tests.support.house import House
from tests.support.stand_ins import BUSY, IDLE, UNKNOWN, Clock, ComfyUI
from tests.support.waiting import wait_until

GAP = 2.0
KINDS = {Work.IDLE: IDLE, Work.BUSY: BUSY, Work.UNKNOWN: UNKNOWN}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, QUEUE_CHECK_INTERVAL="1")
    yield built
    built.close()


@pytest.fixture
def row(house: House) -> Instance:
    return house.run(house.user("ann"))


def tally(last: str | None = "") -> tuple[Tally, ComfyUI, Clock]:
    comfyui, clock = ComfyUI(), Clock()
    outside: Any = comfyui
    return Tally(outside, lambda launch_id: last, clock), comfyui, clock


def fresh(answer: QueueAnswer) -> QueueAnswer:
    """Give an equal answer to another body."""
    return replace(answer)


def seconds(counted: list[Counted]) -> tuple[float, float, float]:
    return (
        sum(one.worked_seconds for one in counted),
        sum(one.idle_seconds for one in counted),
        sum(one.unknown_seconds for one in counted),
    )


def test_time_counts_as_what_the_queue_said_at_its_beginning(row: Instance) -> None:
    counting, _, _ = tally()
    for at, answer in enumerate([IDLE, IDLE, BUSY, BUSY, BUSY, IDLE, IDLE]):
        counting.take(row, answer, float(at), GAP)
    assert seconds(counting.hand_over([])) == (3, 3, 0)


def test_what_is_unknown_at_either_end_is_neither(row: Instance) -> None:
    counting, _, _ = tally()
    for at, answer in enumerate([IDLE, UNKNOWN, UNKNOWN, BUSY, UNKNOWN, BUSY, BUSY]):
        counting.take(row, answer, float(at), GAP)
    assert seconds(counting.hand_over([])) == (1, 0, 5)


def test_a_stalled_manager_does_not_know_what_was_meanwhile(row: Instance) -> None:
    counting, _, _ = tally()
    counting.take(row, BUSY, 0.0, GAP)
    counting.take(row, BUSY, 100.0, GAP)
    assert seconds(counting.hand_over([])) == (2, 0, 98)


@given(st.lists(st.tuples(st.sampled_from(list(Work)), st.floats(0.01, 100)), max_size=50))
def test_every_second_is_counted_once(steps: list[tuple[Work, float]]) -> None:
    counting, comfyui, clock = tally()
    comfyui.history = None
    row: Any = type("Row", (), {"launch_id": "one", "address": None, "secret": None})
    now, begun, sums = 0.0, None, [0.0, 0.0, 0.0]
    for index, (work, gap) in enumerate(steps):
        now += gap
        clock.now += gap
        begun = now if begun is None else begun
        counting.take(row, fresh(KINDS[work]), now, GAP)
        if index % 3 == 0:
            given_up = counting.hand_over(["one"])
            if index % 2:
                counting.take_back(given_up)
                given_up = counting.hand_over(["one"])
            sums = [a + b for a, b in zip(sums, seconds(given_up), strict=True)]
    sums = [a + b for a, b in zip(sums, seconds(counting.hand_over([])), strict=True)]
    assert sum(sums) == pytest.approx(now - (begun or 0.0))
    assert sums[1] <= GAP * sum(work is Work.IDLE for work, _ in steps)


def test_a_session_across_midnight_is_counted_on_both_days(row: Instance) -> None:
    counting, _, clock = tally()
    for at in range(4):
        counting.take(row, BUSY, at * 1.0, GAP)
    first = clock.now
    clock.now += 86_400
    for at in range(4, 10):
        counting.take(row, BUSY, at * 1.0, GAP)
    counted = counting.hand_over([])
    assert [one.worked_seconds for one in counted] == [3, 6]
    assert counted[0].day < counted[1].day
    assert clock.now > first


def test_prompts_are_counted_when_something_has_left_the_queue(row: Instance) -> None:
    counting, comfyui, _ = tally()
    comfyui.history = []
    busy = fresh(BUSY)
    for at, (answer, history) in enumerate(
        [
            (IDLE, []),
            (busy, []),
            (busy, ["a"]),  # not asked: the queue is the same
            (fresh(BUSY), ["a"]),
            (fresh(BUSY), ["a", "b", "c"]),
            (UNKNOWN, ["a", "b", "c", "d"]),
            (IDLE, ["a", "b", "c", "d"]),
        ]
    ):
        comfyui.history = list(history)
        counting.take(row, answer, float(at), GAP)
    (counted,) = counting.hand_over([])
    assert (counted.prompts, counted.last_prompt) == (4, "d")


def test_what_finished_before_the_first_look_and_before_the_end_counts(row: Instance) -> None:
    counting, comfyui, _ = tally("a")
    comfyui.history = ["a", "b"]
    counting.take(row, IDLE, 0.0, GAP)
    comfyui.history = ["a", "b", "c", "d"]
    counting.close(row)
    (counted,) = counting.hand_over([row.launch_id])
    assert (counted.prompts, counted.last_prompt) == (3, "d")
    # One that does not answer is not asked: its end must not wait for it.
    counting.take(row, UNKNOWN, 1.0, GAP)
    comfyui.history.append("e")
    counting.close(row)
    assert [one.prompts for one in counting.hand_over([])] == [0]


def test_what_ran_before_the_first_look_is_counted_at_the_end(row: Instance) -> None:
    counting, comfyui, _ = tally()
    comfyui.history = ["a", "b"]
    counting.close(row)
    (counted,) = counting.hand_over([row.launch_id])
    assert (counted.prompts, counted.last_prompt) == (2, "b")


def test_the_watch_looks_once_more_before_an_end(house: House, row: Instance) -> None:
    watch = house.watch
    watch.tick(0.0)
    wait_until(lambda: not watch._tracks[8001].in_flight, what="the look to end")
    house.comfyui.history = ["a", "b"]
    house.lifecycle.stop(8001, by=house.user("eve"), reason="admin")
    # What is written in between does not end the counting.
    watch._tracks[8001].in_flight = True
    watch.tick(0.5)
    watch._tracks[8001].in_flight = False
    watch.tick(1.0)
    wait_until(lambda: not watch._tracks[8001].in_flight, what="the look to end")
    assert [prompts for *_, prompts in _usage(house)] == [2], "before the port is free"
    house.launcher.end(row.launch_id or "", 0)
    watch.tick(2.0)
    wait_until(lambda: not watch._tracks[8001].in_flight, what="the look to end")
    watch.tick(3.0)
    assert [prompts for *_, prompts in _usage(house)] == [2]


def test_a_history_that_cannot_be_read_is_asked_again(row: Instance) -> None:
    counting, comfyui, _ = tally()
    counting.take(row, BUSY, 0.0, GAP)
    comfyui.history = None
    counting.take(row, IDLE, 1.0, GAP)
    comfyui.history = ["a"]
    counting.take(row, IDLE, 2.0, GAP)
    (counted,) = counting.hand_over([])
    assert counted.prompts == 1


def test_a_history_too_big_to_be_read_is_not_asked_for_again_and_again(
    row: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, comfyui, _ = tally("long gone")
    asked: list[int] = []

    def finished(address: object, secret: object, most: int) -> list[str] | None:
        asked.append(most)
        return [str(number) for number in range(most)] if most < LOOKS[-1] else None

    monkeypatch.setattr(comfyui, "finished", finished)
    counting.take(row, IDLE, 0.0, GAP)
    counting.take(row, IDLE, 1.0, GAP)
    assert asked == list(LOOKS)
    assert [one.prompts for one in counting.hand_over([])] == [0]


def test_prompts_that_no_look_met_are_found_by_the_newest_stamp(row: Instance) -> None:
    counting, comfyui, _ = tally()
    comfyui.history = [str(number) for number in range(40)]
    counting.worked(row, 1000.0)
    counting.worked(row, 1000.0)
    (counted,) = counting.hand_over([row.launch_id or ""])
    assert counted.prompts == 40
    comfyui.history.append("next")
    counting.worked(row, 1001.0)
    (counted,) = counting.hand_over([])
    assert (counted.prompts, counted.last_prompt) == (1, "next")


STEPS = st.lists(st.sampled_from([1, 2, 6, "look", "write", "kill"]), max_size=40)


@given(STEPS)
@example([20, "look", "write", "kill", "look", 1, 1])
def test_each_finished_prompt_is_counted_once_over_managers(steps: list[int | str]) -> None:
    """Looks and kills at any time; what is killed has lost only what was not written."""
    names: list[str] = []
    written, last = 0, ""
    finished, found = Finished(last), list[str]()
    for step in [*steps, "look", "write"]:
        if isinstance(step, int):
            names += [str(len(names) + number) for number in range(step)]
        elif step == "look":
            answers = (finished.new(names[-n:], whole=len(names) < n) for n in LOOKS)
            found += next(answer for answer in answers if answer is not None)
        elif step == "write" and found:
            written, last, found = written + len(found), found[-1], []
        elif step == "kill":
            finished, found = Finished(last), []
        assert written <= len(names)
    assert written == len(names)


def test_what_nobody_counted_from_the_beginning_begins_here() -> None:
    finished = Finished(None)
    assert finished.new(["a", "b"], whole=False) == []
    assert finished.new(["b", "c"], whole=False) == ["c"]


def test_a_cleared_history_never_counts_twice() -> None:
    finished = Finished("")
    assert finished.new(["a", "b"], whole=True) == ["a", "b"]
    assert finished.new([], whole=True) == []
    assert finished.new(["c"], whole=True) == ["c"]
    assert finished.new(["a", "c"], whole=True) == []  # "b" alone was removed
    taken_over = Finished("c")
    # The newest that was counted is gone: which of these were is not known.
    assert taken_over.new(["a"], whole=True) == []
    assert taken_over.new(["a", "d"], whole=True) == ["d"]
    again = Finished("c")
    assert again.new(["c", "e"], whole=False) == ["e"]
    assert again.new(["a", "b"], whole=True) == []  # both were removed, "a" and "b" are older
    assert again.new(["a", "b", "f"], whole=True) == ["f"]


def _usage(house: House) -> list[tuple[float, float, float, int]]:
    (one,) = house.lifecycle.book.sittings(BEGINNING, 5)
    return [(one.worked_seconds, one.idle_seconds, one.unknown_seconds, one.prompts)]


def test_what_is_counted_is_written_each_half_minute_and_when_it_ends(
    house: House, row: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = house.watch
    monkeypatch.setattr(watch, "_check", lambda *_: None)
    watch.tick(0.0)
    launch = row.launch_id or ""
    watch._tally.hand_over([])
    watch._tally.take_back([Counted(launch, "1970-01-12", 5.0, 7.0, 1.0, 2, "b")])
    watch.tick(1.0)
    assert _usage(house) == [(0, 0, 0, 0)]
    watch.tick(30.0)
    assert _usage(house) == [(5, 7, 1, 2)]
    assert house.lifecycle.book.last_prompt(launch) == "b"
    watch.tick(60.0)
    assert _usage(house) == [(5, 7, 1, 2)]
    watch._tally.take_back([Counted(launch, "1970-01-12", 1.0, 0.0, 0.0, 1, "c")])
    house.lifecycle.stop(8001, by=house.user("eve"), reason="admin")
    watch.tick(61.0)
    assert _usage(house) == [(6, 7, 1, 3)]


def test_what_cannot_be_written_is_written_later(
    house: House, row: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(house.watch, "_check", lambda *_: None)
    house.watch.tick(0.0)
    house.watch._tally.take_back([Counted(row.launch_id or "", "1970-01-12", 5.0, 7.0, 1.0, 2)])
    with monkeypatch.context() as patched:
        patched.setattr(house.lifecycle.book, "note", refuse)
        house.watch.tick(30.0)
    assert _usage(house) == [(0, 0, 0, 0)]
    house.watch.tick(60.0)
    assert _usage(house) == [(5, 7, 1, 2)]


def test_a_machine_at_rest_writes_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.watch.tick(0.0)
    monkeypatch.setattr(house.store, "write", lambda work: pytest.fail("written"))
    for now in (30.0, 60.0, 90.0):
        house.watch.tick(now)
