"""What is said about how long a start takes: honest, rounded outwards, or nothing at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.start_times import ALL_ENOUGH, OWN_ENOUGH, usual
from manager.states import State
from manager.web.starting import usual_view
from tests.support.house import House
from tests.support.web import Site

LONGEST = 300.0
TIMES = st.lists(st.floats(min_value=0.01, max_value=LONGEST), min_size=OWN_ENOUGH, max_size=30)


def test_too_few_starts_say_nothing() -> None:
    assert usual([], [], LONGEST) is None
    assert usual([20.0] * (OWN_ENOUGH - 1), [20.0] * (ALL_ENOUGH - 1), LONGEST) is None


def test_own_starts_are_believed_before_those_of_all() -> None:
    found = usual([26.0, 31.0, 39.0], [5.0] * 20, LONGEST)
    assert found is not None
    assert (found.low, found.high, found.median, found.count) == (25, 40, 31.0, 3)
    assert found.own
    others = usual([26.0], [26.0, 31.0, 39.0, 30.0, 33.0], LONGEST)
    assert others is not None
    assert (others.low, others.high, others.count, others.own) == (25, 40, 5, False)


def test_one_start_far_from_all_others_does_not_widen_it() -> None:
    found = usual([30.0] * 19 + [250.0], [], LONGEST)
    assert found is not None
    assert (found.low, found.high) == (25, 30)


def test_what_was_measured_by_a_clock_that_was_set_is_left_out() -> None:
    assert usual([-3000.0, 0.0, LONGEST + 1, 20.0, 21.0], [], LONGEST) is None


@given(TIMES)
def test_it_holds_what_most_starts_took_and_is_never_one_number(times: list[float]) -> None:
    found = usual(times, [], LONGEST)
    assert found is not None
    assert 0 <= found.low < found.high
    assert found.low <= found.median <= found.high
    within = sum(1 for one in times if found.low <= one <= found.high)
    assert within >= 0.8 * len(times)


@pytest.mark.parametrize(
    ("times", "form", "low", "high"),
    [
        ([26.0, 31.0, 39.0], "seconds", 25, 40),
        ([0.4, 0.6, 0.9], "up_to_seconds", 0, 1),
        ([100.0, 130.0, 170.0], "minutes", 1, 3),
        ([20.0, 130.0, 170.0], "up_to_minutes", 0, 3),
    ],
)
def test_it_is_shown_in_a_unit_that_fits(
    times: list[float], form: str, low: int, high: int
) -> None:
    found = usual(times, [], LONGEST)
    assert found is not None
    shown = usual_view(found)
    assert (shown["form"], shown["low"], shown["high"]) == (form, low, high)
    assert shown["late_after"] == found.high


def session(house: House, launch_id: str, took: float | None, owner: str) -> None:
    user = house.store.read(lambda t: t.users.by_name(owner)) or house.user(owner)
    at = house.clock.now
    house.store.write(lambda t: t.usage.begin(launch_id, user, 8001, 1, at))
    if took is not None:
        house.store.write(lambda t: t.usage.ready(launch_id, at + took))
    house.pass_time(600)


def test_the_book_looks_back_on_the_last_starts_and_asks_once_a_launch(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = house.lifecycle.book
    ann, bob = house.user("ann"), house.user("bob")
    for number, took in enumerate((26.0, 31.0, None, 39.0)):
        session(house, f"a{number}", took, "ann")
    found = book.usual_start("now", ann.id)
    assert found is not None
    assert (found.low, found.high, found.own) == (25, 40, True)
    assert book.usual_start("his", bob.id) is None
    for number in range(2):
        session(house, f"b{number}", 33.0, "bob")
    theirs = book.usual_start("next", bob.id)
    assert theirs is not None
    assert not theirs.own
    monkeypatch.setattr(house.store, "read", lambda work: pytest.fail("asked again"))
    assert book.usual_start("now", ann.id) is found


def test_only_a_start_is_told_how_long_it_takes(tmp_path: Path) -> None:
    site = Site(tmp_path)
    found = usual([26.0, 31.0, 39.0], [], LONGEST)
    site.house.lifecycle.book.usual = found
    site.house.lifecycle.put(8001, State.STARTING, site.house.ann)
    start = site.visitor("ann").get("/api/user/state").get_json()["instance"]["start"]
    # The stand-in's start began long ago: no more than may be is said of it.
    assert start["elapsed"] == start["limit"] == 300
    assert start["usual"]["form"] == "seconds"
    page = site.visitor("ann").get("/").text
    assert "usually 25–40 s" in page
    assert "by your last 3 starts" in page
    assert "longer than usual" in page
    site.house.lifecycle.book.usual = None
    assert "usually" not in site.visitor("ann").get("/").text.split("data-page-data")[0]
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    assert site.visitor("ann").get("/api/user/state").get_json()["instance"]["start"] is None
