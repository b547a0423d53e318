"""What the admins' page says of cards, and that nobody else is told of others' processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manager.cards.baseline import busy
from manager.cards.reading import MIB, CardProcess, Reading
from manager.cards.sampler import CardState
from manager.states import State
from manager.web import views
from manager.web.differences import difference
from tests.support.web import Site

ONE = Reading(0, "910B3", "ok", 8676 * MIB, 65536 * MIB, 12.4, 50.0, 100.4, ())
THEIRS = CardProcess(4712, 5000 * MIB, "/usr/bin/python3", "bob")
IDLE = 3000 * MIB


@pytest.fixture
def site(tmp_path: Path) -> Site:
    built = Site(tmp_path)
    alarm = replace(ONE, health="alarm")
    stranger = replace(ONE, processes=(THEIRS,))
    full = replace(ONE, memory_used=21000 * MIB)
    states = [
        CardState(ONE, 1.0, ONE, 1.0, IDLE),
        CardState(stranger, 1.0, stranger, 1.0, IDLE, (THEIRS,), busy(stranger, (THEIRS,), IDLE)),
        CardState(full, 1.0, full, 1.0, IDLE, (), busy(full, (), IDLE), 5.0),
        CardState(
            Reading(3, unknown="npu-smi did not answer within 10 s"),
            2.0,
            alarm,
            1.0,
            None,
            (),
            busy(alarm, (), None),
        ),
    ]
    built.house.sampler.states = dict(enumerate(states))
    return built


def test_an_admin_sees_how_each_card_is(site: Site) -> None:
    first, second, third, fourth = (
        site.visitor("admin").get("/api/admin/overview").get_json()["cards"]
    )
    assert first == {
        "card": 1,
        "node": None,
        "measured": True,
        "looked": True,
        "name": "910B3",
        "health": "ok",
        "utilisation": 12,
        "memory_used": 8676 * MIB,
        "memory_total": 65536 * MIB,
        "temperature": 50,
        "power": 100,
        "unknown": "",
        "outside": "",
        "given": True,
        "sick": "",
        "nobodys": False,
        "idle": IDLE,
    }
    assert (second["outside"], second["given"]) == ("4712 python3 (bob)", False)
    assert (third["nobodys"], third["given"]) == (True, False)
    assert (fourth["sick"], fourth["given"], fourth["memory_used"]) == ("alarm", False, None)
    assert fourth["unknown"] == "npu-smi did not answer within 10 s"


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        (
            "en",
            [
                "12 % use · 50 °C · 100 W",
                "8.5 GiB of 64.0 GiB",
                "Not given out, used from outside: 4712 python3 (bob)",
                "more memory is in use than the 2.9 GiB of an idle card",
                "Not given out, it reports: alarm",
                "State unknown: npu-smi did not answer within 10 s",
            ],
        ),
        (
            "zh-CN",
            [
                "使用率 12% · 50 °C · 100 W",
                "显存 8.5 GiB / 64.0 GiB",
                "暂不分配，被管理器之外的进程占用：4712 python3 (bob)",
                "显存占用高于空闲时的 2.9 GiB",
                "暂不分配，健康状态：alarm",
                "状态未知：npu-smi did not answer within 10 s",
            ],
        ),
    ],
)
def test_the_page_says_it_on_first_paint(site: Site, language: str, sentences: list[str]) -> None:
    page = site.visitor("admin").get("/admin", **{"Accept-Language": language}).text
    for sentence in sentences:
        assert sentence in page


def test_a_stranger_beside_an_instance_is_shown_as_such(site: Site) -> None:
    site.house.lifecycle.put(8002, State.RUNNING, site.house.ann)
    state = site.house.sampler.states[1]
    site.house.sampler.states[1] = replace(state, busy="")
    page = site.visitor("admin").get("/admin").text
    assert "Also used from outside: 4712 python3 (bob)" in page


def test_cards_without_a_tool_and_before_the_first_look(site: Site) -> None:
    site.house.sampler.states = {}
    assert "Not looked at yet." in site.visitor("admin").get("/admin").text
    site.house.cards = [replace(card, kind="cpu") for card in site.house.cards]
    page = site.visitor("admin").get("/admin").text
    assert 'data-card="1" hidden' in page
    assert "Not looked at yet." not in page.split("data-page-data")[0]


def test_only_cards_that_changed_are_told(site: Site) -> None:
    before = views.overview(site.house, 0)
    assert difference(before, views.overview(site.house, 0)) == {}
    warmer = replace(ONE, temperature=70.0)
    site.house.sampler.states[0] = CardState(warmer, 9.0, warmer, 9.0, IDLE)
    (told,) = (difference(before, views.overview(site.house, 0)) or {}).items()
    assert told == ("cards", [{"card": 1, "temperature": 70.0}])


def test_a_user_is_not_told_of_others_processes(site: Site) -> None:
    site.house.lifecycle.put(8002, State.RUNNING, site.house.ann)
    ann = site.visitor("ann")
    for text in (ann.get("/").text, ann.get("/api/user/state").text):
        assert "4712" not in text
        assert "bob" not in text
    assert ann.get("/api/admin/overview").status_code == 403
