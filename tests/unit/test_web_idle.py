"""What pages and API say of the idle verdict, of grants and of kept prompts; and forms."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from manager.records import Unfinished
from manager.states import State
from tests.support.web import NOW, Reading, Site
from tests.unit.test_web_ends import ended, shown

COUNTING = Reading(idle_seconds=500.0, idle_left=99.5)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.house.lifecycle.put(8001, State.RUNNING, made.house.ann)
    made.house.watch.readings[8001] = COUNTING
    return made


def _page(site: Site, language: str = "en") -> str:
    return site.visitor("ann", **{"Accept-Language": language}).get("/").text


@pytest.mark.parametrize(
    ("by", "en", "zh"),
    [
        ("", "No work for 8:20.", "已空闲 8:20。"),
        ("workspace", "You used the workspace 8:20 ago.", "8:20 前您使用过工作区。"),
        ("card", "Your ComfyUI used the card 8:20 ago.", "8:20 前您的 ComfyUI 还在使用算力卡。"),
        ("extended", "it goes on for another 1:40", "会再保留 1:40"),
    ],
)
def test_the_page_says_what_holds_the_session(site: Site, by: str, en: str, zh: str) -> None:
    site.house.watch.readings[8001] = dataclasses.replace(COUNTING, idle_by=by)
    assert en in shown(_page(site), "idle-text")
    assert zh in shown(_page(site, "zh"), "idle-text")


def test_before_an_answer_nothing_is_said_to_be_under_way(site: Site) -> None:
    site.house.watch.readings[8001] = Reading(running=None, pending=None, idle_by="silence")
    assert "The queue is being asked." in shown(_page(site), "idle-text")
    site.house.watch.readings[8001] = Reading(running=1, idle_by="queue")
    assert "Work is under way." in shown(_page(site), "idle-text")


def test_what_cannot_be_told_is_named(site: Site) -> None:
    assert shown(_page(site), "idle-unknown") == ""
    unknown = dataclasses.replace(COUNTING, idle_unknown=("workspace", "card"))
    site.house.watch.readings[8001] = unknown
    said = shown(_page(site), "idle-unknown")
    assert "Whether you use the workspace cannot be told" in said
    assert "Whether the card computes cannot be told" in said


@pytest.mark.parametrize(
    ("offer", "hint"),
    [
        ((1800.0, 2, False), "One click adds 30 min; 2 left"),
        ((300.0, 2, True), "adds only 5 min"),
        ((1800.0, 0, False), "You have used up"),
        ((0.0, 2, True), "You have used up"),
    ],
)
def test_the_warning_says_what_a_click_adds(
    site: Site, offer: tuple[float, int, bool], hint: str
) -> None:
    assert shown(_page(site), "idle-warning") == ""
    site.house.watch.readings[8001] = dataclasses.replace(COUNTING, idle_warns=True)
    site.house.lifecycle.grants.offer = offer
    page = _page(site)
    assert "stopped in 1:40" in shown(page, "warning-text")
    assert hint in shown(page, "warning-hint")


def test_an_extension_is_asked_for_with_what_is_left(site: Site) -> None:
    ann = site.visitor("ann")
    assert ann.post("/api/user/extend").status_code == 202
    assert ann.send("POST", "/extend").status_code == 302
    assert site.house.lifecycle.grants.asked == [("extend", "ann", 99.5)] * 2
    site.house.watch.readings[8001] = Reading(running=1, idle_left=None)
    answer = ann.post("/api/user/extend")
    assert (answer.status_code, answer.get_json()["error"]["key"]) == (
        409,
        "conflict.extend_not_due",
    )


def test_work_is_announced_and_taken_back(site: Site) -> None:
    ann, grants = site.visitor("ann"), site.house.lifecycle.grants
    assert ann.post("/api/user/keep-awake", json={"seconds": 7200}).status_code == 202
    for wrong in ({}, {"seconds": "7200"}, {"seconds": 7200, "more": 1}):
        assert ann.post("/api/user/keep-awake", json=wrong).status_code == 400
    answer = ann.post("/api/user/keep-awake", json={"seconds": 99_999})
    assert answer.status_code == 409
    assert "240" in answer.get_json()["error"]["message"]
    assert ann.send("DELETE", "/api/user/keep-awake").status_code == 200
    assert grants.asked == [("keep_awake", "ann", 7200), ("end_awake", 8001, "ann", True, 0)]


def test_who_waits_and_who_rules_see_until_when(site: Site) -> None:
    site.house.lifecycle.grants.until["launch-8001"] = NOW
    site.house.lifecycle.line.join(site.house.bob)
    site.house.watch.readings[8001] = dataclasses.replace(COUNTING, idle_by="awake")
    assert "Kept for announced work until" in shown(_page(site), "idle-text")
    bob = site.visitor("bob")
    assert bob.get("/api/user/state").get_json()["line"]["held"] == [{"card": 1, "until": NOW}]
    assert "Card 1 is kept for announced work" in shown(bob.get("/").text, "line-held")
    admin = site.visitor("admin")
    assert "kept for announced work until" in admin.get("/admin").text
    answer = admin.send("DELETE", "/api/admin/ports/8001/keep-awake?seconds=60")
    assert answer.status_code == 200
    assert site.house.lifecycle.grants.asked == [("end_awake", 8001, "admin", False, 60)]
    for wrong in ("-1", "x", "1e3"):
        path = f"/api/admin/ports/8001/keep-awake?seconds={wrong}"
        assert admin.send("DELETE", path).status_code == 400


@pytest.mark.parametrize("by", ["", "queue", "silence", "workspace", "card", "extended", "awake"])
def test_admins_see_the_port_whatever_holds_it(site: Site, by: str) -> None:
    site.house.watch.readings[8001] = dataclasses.replace(COUNTING, idle_by=by)
    answer = site.visitor("admin").get("/admin")
    assert answer.status_code == 200
    said = re.findall('data-field="idle_by">([^<]*)<', answer.text)
    assert said[0] == {
        "workspace": "workspace in use",
        "card": "card in use",
        "extended": "extended by its user",
        "awake": "kept for announced work until –",
    }.get(by, "")


def test_why_it_ended_is_said_with_what_it_rests_on(tmp_path: Path) -> None:
    site = Site(tmp_path)
    ended(site, None)
    evidence = {
        "limit": 600,
        "idle_seconds": 603,
        "worked_at": NOW - 603,
        "used_at": None,
        "card_at": None,
        "unknown": ["workspace"],
    }
    usages = site.house.lifecycle.usages
    usages[2] = dataclasses.replace(usages[2], end_reason="idle", evidence=json.dumps(evidence))
    said = shown(_page(site), "evidence")
    for part in (
        "no job for 10:03",
        "the limit is 10:00",
        "Last job: ",
        "could not be told",
        "Asked",
    ):
        assert part in said
    assert "Workspace last used" not in said
    assert (
        site.visitor("ann").get("/api/user/state").get_json()["last_usage"]["evidence"] == evidence
    )


def test_kept_prompts_are_offered_to_their_owner_alone(site: Site) -> None:
    kept = site.house.lifecycle.unfinished
    kept.rows = [
        Unfinished("l0", 2, NOW - 99, 3, 2, "sent", 3, 1, 1, "no such model"),
        Unfinished("l1", 2, NOW, 4),
    ]
    page = _page(site)
    assert "4 prompts were running or waiting" in shown(page, "kept-text")
    assert "Send them again?" in shown(page, "kept-text")
    assert "2 more were too many" in shown(page, "kept-left-out")
    result = shown(page, "kept-result")
    for part in ("1 were sent again", "1 were refused", "Of 1 nobody knows"):
        assert part in result
    assert shown(page, "kept-refusal") == "no such model"
    state = site.visitor("bob").get("/api/user/state").get_json()
    assert state["kept"] is None
    assert site.visitor("bob").post("/api/user/kept-prompts/send").status_code == 404


def test_kept_prompts_are_sent_or_dropped_also_without_a_script(site: Site) -> None:
    kept, ann = site.house.lifecycle.unfinished, site.visitor("ann")
    kept.rows = [Unfinished("l1", 2, NOW, 4)]
    kept.prompts = [{"nodes": 2, "kinds": ["SaveImage"], "was_running": True}]
    assert ann.get("/api/user/kept-prompts").get_json() == {"prompts": kept.prompts}
    assert ann.post("/api/user/kept-prompts/send").status_code == 202
    assert ann.send("POST", "/kept-prompts/send").status_code == 302
    assert ann.send("POST", "/kept-prompts/drop").status_code == 302
    assert kept.asked == ["send", "send", "drop"]


def test_nothing_is_offered_that_the_settings_do_not_allow(tmp_path: Path) -> None:
    site = Site(tmp_path, EXTEND_BY="0", KEEP_AWAKE_MAX="0")
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.house.watch.readings[8001] = dataclasses.replace(COUNTING, idle_warns=True)
    state = site.visitor("ann").get("/api/user/state").get_json()["instance"]
    assert (state["extend"], state["awake"]) == (None, None)
    page = _page(site)
    assert "Any job keeps it." in shown(page, "warning-hint")
    assert "I am still here" in page
    assert 'data-form="extend" hidden' in page
