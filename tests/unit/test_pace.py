"""While the machine is busy pages and looks at cards stand back, and the watch does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.load import Load, LoadReading
from manager.pace import BUSY_AFTER, FREE_AFTER, Limits, Pace
from manager.states import State
from manager.web import live
from tests.support import web
from tests.support.house import House
from tests.support.stand_ins import IDLE
from tests.support.waiting import wait_until
from tests.support.web import Site

LIMITS = Limits(cpu_percent=85, load=4, slowdown=4)
BUSY, FREE = (90.0, 1.0), (20.0, 1.0)


def _after(pace: Pace, *samples: tuple[float, float]) -> int:
    for sample in samples:
        pace.take(*sample)
    return pace.slowdown


def test_it_slows_down_when_busy_twice_and_no_sooner() -> None:
    pace = Pace(LIMITS, 2)
    assert _after(pace, BUSY, FREE, BUSY) == 1
    assert _after(pace, BUSY) == 4


def test_it_goes_on_at_full_speed_after_a_while_without_load() -> None:
    pace = Pace(LIMITS, 2)
    _after(pace, BUSY, BUSY)
    assert _after(pace, *[FREE] * (FREE_AFTER - 1), BUSY) == 4
    assert _after(pace, *[FREE] * (FREE_AFTER - 1)) == 4
    assert _after(pace, FREE) == 1


@pytest.mark.parametrize(
    ("limits", "sample", "busy"),
    [
        (LIMITS, (85.0, 0.0), True),
        (LIMITS, (84.9, 7.9), False),
        (LIMITS, (10.0, 8.0), True),
        (Limits(0, 4, 4), (100.0, 0.0), False),
        (Limits(85, 0, 4), (10.0, 500.0), False),
        (Limits(0, 0, 4), (100.0, 500.0), False),
    ],
)
def test_what_counts_as_busy(limits: Limits, sample: tuple[float, float], busy: bool) -> None:
    assert (_after(Pace(limits, 2), *[sample] * BUSY_AFTER) > 1) is busy


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), max_size=40),
    st.integers(1, 8),
)
def test_it_is_full_speed_or_the_slowdown_and_settles(
    samples: list[tuple[float, float]], slowdown: int
) -> None:
    pace = Pace(Limits(85, 4, slowdown), 4)
    for sample in samples:
        assert _after(pace, sample) in (1, slowdown)
    assert _after(pace, *[BUSY] * BUSY_AFTER) == slowdown
    assert _after(pace, *[FREE] * FREE_AFTER) == 1


def test_the_load_gives_what_follows_from_its_samples(tmp_path: Path) -> None:
    load = Load(tmp_path, LIMITS)
    busy = LoadReading(90.0, 1.0, 1, 1, 1.0, 1, 0.0, 0.0)
    for _ in range(BUSY_AFTER):
        assert load.slowdown() == 1
        load.take(busy)
    assert load.slowdown() == load.latest().slowdown == 4
    assert load.latest() == dataclasses.replace(busy, slowdown=4)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _slow(site: Site, slowdown: int) -> None:
    site.house.load.value = web.Load(slowdown=slowdown)


def _events(client: Any, name: str) -> list[Any]:
    return [e["args"][0] for e in client.get_received() if e["name"] == name]


def _counts_on(site: Site, second: float) -> None:
    """Have the watch report one more second of idleness of Ann's instance."""
    site.house.watch.readings[8001] = web.Reading(idle_seconds=second, idle_left=600 - second)
    site.house.changed({8001}, {2})


def test_numbers_wait_for_the_round_while_it_is_busy(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    ann, admin = site.visitor("ann").connect(), site.visitor("admin").connect()
    told: dict[int, list[int]] = {1: [], 4: []}
    for slowdown, begin in ((1, 100), (4, 200)):
        _slow(site, slowdown)
        _counts_on(site, begin - 1)
        site.live.push(begin - 1.0)
        _events(ann, ""), _events(admin, "")
        for second in range(begin, begin + 12):
            _counts_on(site, second)
            site.live.push(float(second))
        for client, event in ((ann, live.STATE_DIFF_EVENT), (admin, live.OVERVIEW_DIFF_EVENT)):
            told[slowdown].append(len(_events(client, event)))
    assert told == {1: [12, 12], 4: [3, 3]}


def test_the_last_number_is_told_though_nothing_follows(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    _slow(site, 4)
    ann = site.visitor("ann").connect()
    site.live.push(100.0)
    _counts_on(site, 7)
    site.live.push(101.0)
    _events(ann, "")
    _counts_on(site, 8)
    site.live.push(102.0)
    assert _events(ann, live.STATE_DIFF_EVENT) == []
    site.live.push(104.0)
    assert [s["instance"]["idle_seconds"] for s in _events(ann, live.STATE_DIFF_EVENT)] == [8]


def test_another_state_is_told_at_once_however_busy_it_is(site: Site) -> None:
    _slow(site, 8)
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    ann, admin = site.visitor("ann").connect(), site.visitor("admin").connect()
    for second in range(3):
        _counts_on(site, second)
        site.live.push(100.0 + second)
    _events(ann, ""), _events(admin, "")
    site.house.lifecycle.put(8001, State.STOPPING, site.house.ann)
    site.house.changed({8001}, {2})
    site.live.push(103.0)
    assert [state["phase"] for state in _events(ann, live.STATE_DIFF_EVENT)] == ["stopping"]
    (diff,) = _events(admin, live.OVERVIEW_DIFF_EVENT)
    assert [port["state"] for port in diff["ports"]] == ["stopping"]


def test_everybody_is_told_that_it_has_slowed_down_and_that_it_is_over(site: Site) -> None:
    bob, admin = site.visitor("bob").connect(), site.visitor("admin").connect()
    site.live.push(100.0)
    _events(bob, ""), _events(admin, "")
    said = []
    for second, slowdown in ((101.0, 4), (110.0, 1)):
        _slow(site, slowdown)
        site.live.push(second)
        said.append([state["slowdown"] for state in _events(bob, live.STATE_DIFF_EVENT)])
        (diff,) = _events(admin, live.OVERVIEW_DIFF_EVENT)
        said.append([diff["load"]["slowdown"]])
    assert said == [[4], [4], [1], [1]]


@pytest.mark.parametrize(("language", "words"), [("en", "less often"), ("zh-CN", "机器繁忙")])
def test_the_admin_page_says_so(site: Site, language: str, words: str) -> None:
    admin = site.visitor("admin")
    shown = {"Accept-Language": language}
    assert words not in _tiles(admin.get("/admin", **shown).text)
    _slow(site, 4)
    assert words in _tiles(admin.get("/admin", **shown).text)


def _tiles(page: str) -> str:
    return page[page.index('data-load="cpu"') : page.index('data-load="memory"')]


def test_the_users_page_says_so(site: Site) -> None:
    ann = site.visitor("ann")
    assert 'data-role="slowed" hidden' in ann.get("/").text
    _slow(site, 4)
    assert 'data-role="slowed" >' in ann.get("/").text


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, QUEUE_CHECK_INTERVAL="1", MAX_WORKERS="4")
    yield built
    built.close()


def test_checks_come_each_second_while_pages_and_cards_stand_back(house: House, site: Site) -> None:
    load = Load(house.settings.data_dir.parent, LIMITS)
    port = house.run(house.user("ann")).port
    house.comfyui.answers[port] = IDLE
    site.house.load = load  # type: ignore[assignment]
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    ann = site.visitor("ann").connect()
    for _ in range(BUSY_AFTER):
        load.take(load._sample(100.0))
    _counts_on(site, 99)
    site.live.push(99.0)
    _events(ann, "")
    house.comfyui.asked.clear()
    for second in range(100, 112):
        house.watch.tick(float(second))
        wait_until(
            lambda: not any(t.in_flight for t in house.watch._tracks.values()), what="the check"
        )
        _counts_on(site, second)
        site.live.push(float(second))
    assert house.comfyui.asked == [port] * 12
    assert len(_events(ann, live.STATE_DIFF_EVENT)) == 3


def test_a_crash_right_after_the_machine_got_busy_is_told_at_once(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    ann = site.visitor("ann").connect()
    for second in range(3):
        _counts_on(site, second)
        site.live.push(100.0 + second)
    _slow(site, 8)
    site.live.push(102.25)
    _events(ann, "")
    # Kept for somebody in line, so that no port has become free, which everybody is told.
    site.house.lifecycle.unavailable[8001] = "kept"
    site.house.lifecycle.put(8001, State.IDLE, site.house.ann, user_id=None)
    site.house.changed({8001}, {2})
    site.live.push(102.5)
    assert [state["phase"] for state in _events(ann, live.STATE_DIFF_EVENT)] == ["idle"]
