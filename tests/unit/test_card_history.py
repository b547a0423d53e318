"""The cards' history: means and extremes, gaps, few writes, a file within bounds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.card_history import (
    DAY_S,
    FLUSH_S,
    KEPT_S,
    MINUTE_S,
    MOST_WAITING,
    PERIODS,
    QUARTER_S,
    CardHistory,
)
from manager.cards.reading import Reading
from manager.errors import StoreFailed
from manager.spans import METRICS, Extent, Span, merge, worst
from manager.store import Store

GIB = 1 << 30
START = 1_790_000_100 // DAY_S * DAY_S + QUARTER_S
ONE = Reading(0, "910B3", "ok", 3 * GIB, 64 * GIB, 10.0, 40.0, 100.0, ())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "file.db", 1)
    yield opened
    opened.close()


class Watched(Store):
    """A store that counts its writes, and fails when told."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, 1)
        self.writes = 0
        self.broken = False

    def write(self, work: Any) -> Any:
        self.writes += 1
        if self.broken:
            raise StoreFailed("the disk is full")
        return super().write(work)


def rows(store: Store, seconds: int) -> list[Span]:
    return store.read(lambda tables: tables.card_history.all_of(seconds, 0, 1e12))


def run(history: CardHistory, seconds: int, step: int = 5, *, since: int = 0) -> None:
    """Look every ``step`` seconds; the use counts the seconds of each minute."""
    for second in range(since, since + seconds, step):
        history.take([replace(ONE, utilisation=float(second % 60))], START + second)


def test_a_minute_keeps_its_lowest_mean_and_highest(store: Store) -> None:
    history = CardHistory(store, START)
    run(history, 60)
    history.flush()
    (span,) = rows(store, MINUTE_S)
    assert (span.device, span.at, span.looks, span.health) == (0, START, 12, "ok")
    assert span.extents["utilisation"] == Extent(0, 27.5, 55)
    assert span.extents["memory_used"] == Extent(3 * GIB, 3 * GIB, 3 * GIB)
    assert span.memory_total == 64 * GIB


def test_unknown_is_a_gap_and_never_zero(store: Store) -> None:
    history = CardHistory(store, START)
    history.take([replace(ONE, unknown="it does not answer"), Reading(1)], START)
    history.take([replace(ONE, utilisation=None, power=None)], START + 60)
    history.take([ONE], START + 180)
    history.flush()
    assert [span.at - START for span in rows(store, MINUTE_S)] == [60, 180]
    assert set(rows(store, MINUTE_S)[0].extents) == {"memory_used", "temperature"}
    shown = history.spans(0, PERIODS["24h"], START + 600)
    assert [span.at for span in shown] == [START]
    assert shown[0].extents["utilisation"] == Extent(10, 10, 10)


def test_writes_are_few_and_there_are_none_without_news(tmp_path: Path) -> None:
    store = Watched(tmp_path / "file.db")
    history = CardHistory(store, START)
    run(history, 3600)
    assert store.writes == 3600 // FLUSH_S - 1
    writes = store.writes
    for second in range(3600, 7200, 5):
        history.take([Reading(0, unknown="gone")], START + second)
    # What was known before it went; then nothing more.
    assert store.writes == writes + 1
    history.flush()
    assert store.writes == writes + 1
    store.close()


def test_quarters_are_joined_from_minutes_also_over_a_restart(store: Store) -> None:
    first = CardHistory(store, START)
    run(first, 1000)
    first.flush()
    second = CardHistory(store, START + 1000)
    run(second, 2700 - 1000, since=1000)
    second.flush()
    # The last minute is one that is still under way for all anybody knows.
    run(second, 60, since=2700)
    second.flush()
    quarters = rows(store, QUARTER_S)
    assert [span.at - START for span in quarters] == [0, 900, 1800]
    assert {span.looks for span in quarters[::2]} == {180}
    assert {span.extents["utilisation"] for span in quarters[::2]} == {Extent(0, 27.5, 55)}


def test_the_file_keeps_its_bounds(store: Store) -> None:
    history = CardHistory(store, START)
    days = 33
    for number in range(days * 12):
        history.take([ONE, replace(ONE, device=1)], START + number * 7200)
    history.flush()
    for seconds, kept_s in KEPT_S.items():
        found = rows(store, seconds)
        assert len(found) <= 2 * (kept_s // 7200 + 1)
        newest = max(span.at for span in rows(store, MINUTE_S))
        assert min(span.at for span in found) >= newest - kept_s
    month = history.spans(1, PERIODS["30d"], START + days * DAY_S)
    # Quarters are joined once the next one has begun.
    assert 30 * 12 - 2 <= len(month) <= 30 * 12
    assert {span.seconds for span in month} == {7200}


def test_what_the_disk_does_not_take_is_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = Watched(tmp_path / "file.db")
    history = CardHistory(store, START)
    store.broken = True
    run(history, 1200)
    assert rows(store, MINUTE_S) == []
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    store.broken = False
    run(history, 600, since=1200)
    assert len(rows(store, MINUTE_S)) >= 20
    assert "written again" in caplog.text
    store.broken = True
    for minute in range(2 * MOST_WAITING):
        history.take([ONE], START + 3600 + minute * 60)
    assert len(history._waiting) == MOST_WAITING
    store.broken = False
    store.close()


def test_a_clock_that_is_set_back_does_not_stop_the_writing(store: Store) -> None:
    history = CardHistory(store, START + 30 * DAY_S)
    run(history, 700)
    assert len(rows(store, MINUTE_S)) >= 10


def test_of_several_healths_the_worst_is_kept() -> None:
    assert worst(["ok", "alarm", "warning"]) == "alarm"
    assert worst(["", "ok", "odd"]) == "ok"
    assert worst([]) == ""


EXTENTS = st.tuples(*[st.floats(0, 1e12)] * 3).map(sorted).map(lambda three: Extent(*three))
SPANS = st.builds(
    Span,
    st.integers(0, 2),
    st.just(MINUTE_S),
    st.integers(0, 200).map(lambda n: n * MINUTE_S),
    st.integers(1, 12),
    st.sampled_from(["", "ok", "warning"]),
    st.none() | st.integers(1, 1 << 40),
    st.dictionaries(st.sampled_from(METRICS), EXTENTS),
)


@given(st.lists(SPANS, max_size=40, unique_by=lambda span: (span.device, span.at)))
def test_joining_loses_no_look_and_keeps_the_bounds(spans: list[Span]) -> None:
    joined = merge(spans, QUARTER_S)
    assert sum(span.looks for span in joined) == sum(span.looks for span in spans)
    places = [(span.device, span.at) for span in joined]
    assert len(set(places)) == len(places)
    for span in joined:
        few = [
            s for s in spans if (s.device, s.at // QUARTER_S * QUARTER_S) == (span.device, span.at)
        ]
        assert few
        for name in METRICS:
            known = [s.extents[name] for s in few if name in s.extents]
            assert (name in span.extents) == bool(known)
            if known:
                one = span.extents[name]
                assert one.low == min(k.low for k in known)
                assert one.high == max(k.high for k in known)
                assert one.low <= one.mean <= one.high
