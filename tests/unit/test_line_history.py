"""The line's history: means and peaks, gaps, few writes, thinned out, nothing counted twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from manager.errors import StoreFailed
from manager.line_history import (
    DAY_S,
    KEPT_S,
    LONG_S,
    MOST_QUIET,
    MOST_WAITING,
    PERIODS,
    QUARTER_S,
    LineHistory,
)
from manager.records import Waiting
from manager.spans import LineSpan
from manager.store import Store

START = 1_790_000_100 // DAY_S * DAY_S
WEEK, QUARTER = PERIODS["7d"], PERIODS["90d"]


class Watched(Store):
    """A store that counts its writes, and fails when told."""

    writes = 0
    broken = False
    meanwhile: Callable[[], None] | None = None
    """What happens once, while the next write goes on."""

    def write(self, work: Any) -> Any:
        self.writes += 1
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        if self.broken:
            raise StoreFailed("the disk is full")
        return super().write(work)


class Queue:
    """Who waits, as the test says: since when each."""

    def __init__(self) -> None:
        self.since: list[float] = []
        self.broken = False

    def __call__(self) -> list[Waiting]:
        if self.broken:
            raise StoreFailed("it cannot be read")
        return [Waiting(n, n, f"u{n}", None, at) for n, at in enumerate(self.since)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Watched]:
    opened = Watched(tmp_path / "file.db", 1)
    yield opened
    opened.close()


@pytest.fixture
def line() -> Queue:
    return Queue()


@pytest.fixture
def history(store: Watched, line: Queue) -> LineHistory:
    return LineHistory(store, line)


def rows(store: Store, seconds: int) -> list[LineSpan]:
    return store.read(lambda tables: tables.line_history.of(seconds, 0, seconds))


def test_a_quarter_says_how_many_waited_and_how_long(
    history: LineHistory, line: Queue, store: Watched
) -> None:
    history.look(START)
    line.since = [START - 100, START - 50]
    history.look(START + 15)
    line.since = [START - 100]
    history.look(START + 30)
    assert store.writes == 0
    (one,) = history.spans(WEEK, START + 40)
    assert (one.looks, one.length_sum, one.length_high, one.wait_high) == (3, 3, 2, 130)
    assert one.length_mean == 1.0


def test_nothing_is_written_before_a_quarter_is_over(
    history: LineHistory, line: Queue, store: Watched
) -> None:
    line.since = [START]
    for at in range(0, QUARTER_S, 15):
        history.look(START + at)
    assert store.writes == 0
    history.look(START + QUARTER_S)
    assert store.writes == 1
    assert [(one.at, one.looks) for one in rows(store, QUARTER_S)] == [(START, 60)]


def test_a_machine_at_rest_hardly_writes_and_loses_nothing(
    history: LineHistory, line: Queue, store: Watched
) -> None:
    for n in range(MOST_QUIET + 1):
        history.look(START + n * QUARTER_S)
    assert store.writes == 0
    history.look(START + (MOST_QUIET + 1) * QUARTER_S)
    assert store.writes == 1
    assert len(rows(store, QUARTER_S)) == MOST_QUIET + 1
    # Whoever comes has the quiet time before him written too.
    line.since = [START]
    for n in range(2, 4):
        history.look(START + (MOST_QUIET + n) * QUARTER_S)
    assert [one.length_high for one in rows(store, QUARTER_S)][-3:] == [0, 0, 1]


def test_a_manager_that_comes_back_goes_on_with_the_same_quarter(
    store: Watched, line: Queue
) -> None:
    line.since = [START]
    first = LineHistory(store, line)
    first.look(START + 15)
    first.flush()
    second = LineHistory(store, line)
    second.look(START + 30)
    second.flush()
    assert [(one.looks, one.wait_high) for one in rows(store, QUARTER_S)] == [(2, 30)]


def test_a_time_without_a_manager_is_a_gap_and_no_zero(history: LineHistory) -> None:
    history.look(START)
    history.look(START + 5 * 3600)
    assert [one.at for one in history.spans(WEEK, START + 5 * 3600)] == [START, START + 5 * 3600]


def test_old_quarters_are_joined_once_and_forgotten(
    history: LineHistory, line: Queue, store: Watched
) -> None:
    line.since = [START]
    for n in range(40):
        history.look(START + n * QUARTER_S)
    longer = rows(store, LONG_S)
    assert [(one.at, one.looks) for one in longer] == [(START + n * LONG_S, 8) for n in range(4)]
    assert longer[1].wait_high == 15 * QUARTER_S
    later = START + KEPT_S[QUARTER_S] + DAY_S
    history.look(later)
    history.look(later + QUARTER_S)
    assert [one.at for one in rows(store, QUARTER_S)] == [later]
    assert sum(one.looks for one in rows(store, LONG_S)) == 40
    history.look(START + KEPT_S[LONG_S] + DAY_S)
    history.flush()
    assert START not in [one.at for one in rows(store, LONG_S)]


@pytest.mark.parametrize("period", PERIODS.values(), ids=PERIODS)
def test_every_period_counts_each_look_once(history: LineHistory, line: Queue, period: Any) -> None:
    line.since = [START]
    looks = range(0, 3 * DAY_S + 1234, 600)
    for at in looks:
        history.look(START + at)
    found = history.spans(period, START + looks[-1])
    assert sum(one.looks for one in found) == len(looks)
    assert [one.at for one in found] == sorted({one.at for one in found})
    assert {one.seconds for one in found} == {period.span_s}


def test_a_full_disk_loses_the_oldest_only(
    history: LineHistory, line: Queue, store: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    store.broken = True
    line.since = [START]
    caplog.set_level(logging.INFO, "manager.line_history")
    for n in range(MOST_WAITING + 5):
        history.look(START + n * QUARTER_S)
    assert len(caplog.records) == 1
    store.broken = False
    history.look(START + (MOST_WAITING + 5) * QUARTER_S)
    assert "kept again" in caplog.messages[-1]
    assert len(rows(store, QUARTER_S)) == MOST_WAITING - 1


def test_looks_during_a_write_lose_nothing_and_break_nothing(
    history: LineHistory, line: Queue, store: Watched
) -> None:
    history.look(START)

    def looks_on() -> None:
        for n in range(1, MOST_WAITING + 1):
            history.look(START + n * QUARTER_S)

    store.meanwhile = looks_on
    history.flush()
    history.flush()
    found = [one.at for one in rows(store, QUARTER_S)]
    assert found == [START + n * QUARTER_S for n in range(MOST_WAITING + 1)]


def test_a_line_that_cannot_be_read_is_a_gap(
    history: LineHistory, line: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    line.broken = True
    history.look(START)
    history.look(START + 15)
    assert history.spans(WEEK, START + 15) == []
    assert len(caplog.records) == 1


def test_a_clock_that_was_set_back_makes_no_wait_below_nothing(
    history: LineHistory, line: Queue
) -> None:
    line.since = [START + 500]
    history.look(START)
    assert history.spans(WEEK, START)[0].wait_high == 0.0
