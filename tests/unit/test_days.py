"""Local days, also where the clocks change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manager import days

ZONES = ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu"]
HOUR = 3600
Zone = Callable[[str], None]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zone]:
    def choose(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


def test_a_session_across_midnight_is_split(zone: Zone) -> None:
    zone("Asia/Shanghai")
    midnight = days.begin_of("2026-11-24")
    assert midnight == 1_795_449_600.0  # 2026-11-23 16:00 UTC
    assert days.split(midnight - 600, midnight + 900.5) == [
        ("2026-11-23", 600),
        ("2026-11-24", 900.5),
    ]
    assert days.split(midnight, midnight + 24 * HOUR) == [
        ("2026-11-24", 24 * HOUR),
        ("2026-11-25", 0),
    ]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_the_days_on_which_the_clocks_change_are_as_long_as_they_are(
    zone: Zone, day: str, hours: int
) -> None:
    zone("Europe/Berlin")
    begin = days.begin_of(day)
    pieces = days.split(begin - HOUR, begin + 30 * HOUR)
    assert [seconds / HOUR for _, seconds in pieces] == [1, hours, 30 - hours]
    assert [name for name, _ in pieces] == [days.earlier(day, 1), day, days.earlier(day, -1)]


def test_a_day_may_begin_at_one_o_clock(zone: Zone) -> None:
    zone("America/Sao_Paulo")
    begin = days.begin_of("2018-11-04")
    assert time.strftime("%H:%M", time.localtime(begin)) == "01:00"
    assert days.begin_of("2018-11-05") - begin == 23 * HOUR
    assert days.split(begin - 1, begin + 1) == [("2018-11-03", 1), ("2018-11-04", 1)]


def test_a_day_that_never_was_is_passed_over(zone: Zone) -> None:
    zone("Pacific/Apia")  # 2011-12-30 was left out
    begin = days.begin_of("2011-12-31")
    assert days.begin_of("2011-12-30") == begin
    assert days.split(begin - 1, begin + 1) == [("2011-12-29", 1), ("2011-12-31", 1)]


def test_a_clock_that_was_set_back_gives_nothing() -> None:
    assert days.split(1_790_000_000.0, 1_780_000_000.0) == [(days.day_of(1_790_000_000.0), 0)]


def test_weeks_begin_on_monday() -> None:
    assert days.monday_of("2026-11-24") == "2026-11-23"
    assert days.monday_of("2026-11-23") == "2026-11-23"
    assert days.monday_of("2026-03-01") == "2026-02-23"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    name=st.sampled_from(ZONES),
    begin=st.floats(1_200_000_000, 1_900_000_000),
    length=st.floats(0, 5 * 86_400),
)
def test_nothing_is_lost_or_counted_twice(
    zone: Zone, name: str, begin: float, length: float
) -> None:
    zone(name)
    pieces = days.split(begin, begin + length)
    assert sum(seconds for _, seconds in pieces) == pytest.approx(length, abs=1e-5)
    assert [day for day, _ in pieces] == sorted({day for day, _ in pieces})
    assert pieces[0][0] == days.day_of(begin)
    for day, _ in pieces[1:]:
        first = days.begin_of(day)
        assert days.day_of(first) == day
        assert days.day_of(first - 1) < day
