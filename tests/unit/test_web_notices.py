"""What everybody is told, on the pages and in the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manager.errors import StoreFailed
from manager.notices import Maintenance
from manager.states import State
from manager.web.live import OVERVIEW_DIFF_EVENT, STATE_DIFF_EVENT
from tests.support.web import NOW, Reading, Site

PAGES = ("/", "/account", "/password", "/admin", "/admin/audit", "/nowhere")
HOSTILE = "<script>alert(1)</script> {{ 7*7 }}"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, PORTS="8001:9001:9081:1,8002:9002:9082:2")


def tell(site: Site, english: str, chinese: str = "", level: str = "notice") -> None:
    site.house.announcements.make(level, english, chinese, None, by=site.house.admin)


def test_it_stands_on_every_page_of_who_is_logged_in_and_on_no_other(site: Site) -> None:
    tell(site, "Cake at four")
    admin = site.visitor("admin")
    for path in PAGES:
        assert "Cake at four" in admin.get(path).text, path
    assert "Cake at four" in site.visitor("new").get("/password").text
    for path in ("/login", "/nowhere"):
        assert "Cake at four" not in site.visitor().get(path).text


def test_nothing_in_it_is_markup(site: Site) -> None:
    tell(site, HOSTILE, level="warning")
    site.house.lifecycle.maintenance.one = Maintenance("admin", NOW, None, HOSTILE)
    for path in PAGES:
        page = site.visitor("admin").get(path).text
        assert "<script>alert" not in page, path
        assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7*7 }}" in page, path


def test_each_reads_it_in_his_language_if_there_is_one(site: Site) -> None:
    tell(site, "Cake", "蛋糕")
    tell(site, "", "只有中文")
    ann = site.visitor("ann")
    english = ann.get("/").text.split('<script type="application/json">')[0]
    assert "Cake" in english
    assert "蛋糕" not in english
    assert 'lang="zh-CN">只有中文' in english
    chinese = ann.get("/", **{"Accept-Language": "zh-CN"}).text
    assert "蛋糕" in chinese.split('<script type="application/json">')[0]


def test_a_notice_is_put_away_also_without_a_script(site: Site) -> None:
    tell(site, "Cake")
    tell(site, "Tea")
    ann = site.visitor("ann")
    left = ann.post("/api/user/announcements/1/put-away", json={}).get_json()
    assert [one["text"]["en"] for one in left["announcements"]] == ["Tea"]
    form = {"id": "2", "next": "/account", "csrf_token": ann.csrf()}
    answer = ann.send("POST", "/announcements/put-away", csrf=False, data=form)
    assert (answer.status_code, answer.location) == (302, "/account")
    assert "Tea" not in ann.get("/").text
    assert "Tea" in site.visitor("bob").get("/").text
    away = ann.send("POST", "/announcements/put-away", csrf=False, data={**form, "next": "//evil"})
    assert away.location == "/"


def events(client: Any, name: str) -> list[dict[str, Any]]:
    return [one["args"][0] for one in client.get_received() if one["name"] == name]


def test_open_pages_are_told_at_once(site: Site) -> None:
    admin = site.visitor("admin")
    bob, watcher = site.visitor("bob").connect(), site.visitor("admin").connect()
    site.live.push(0.0)
    for client in (bob, watcher):
        client.get_received()
    body = {"level": "warning", "text_en": "Fire", "until": NOW + 1e9}
    made = admin.post("/api/admin/announcements", json=body)
    (told,) = made.get_json()["service"]["announcements"]
    assert (told["made_by"], told["can_put_away"]) == ("admin", False)
    admin.send("PUT", "/api/admin/maintenance", json={"reason": "New fans", "until": NOW + 1e9})
    site.live.push(10.0)
    notices = events(bob, STATE_DIFF_EVENT)[-1]["notices"]
    assert notices["announcements"][0]["text"] == {"en": "Fire", "zh": ""}
    assert notices["maintenance"] == {"reason": "New fans", "until": NOW + 1e9}
    diff = events(watcher, OVERVIEW_DIFF_EVENT)[-1]
    assert diff["service"]["maintenance"]["begun_by"] == "admin"
    admin.send("DELETE", "/api/admin/maintenance")
    admin.send("DELETE", "/api/admin/announcements/1")
    site.live.push(20.0)
    assert events(bob, STATE_DIFF_EVENT)[-1]["notices"] == {
        "maintenance": None,
        "announcements": [],
    }


@pytest.mark.parametrize(
    "wrong",
    [{"level": "shout"}, {"text_en": 7}, {"until": "soon"}, {"more": 1}, {"text_en": "x" * 2049}],
)
def test_what_makes_no_sense_is_refused(site: Site, wrong: dict[str, Any]) -> None:
    body = {"level": "notice", "text_en": "Cake", **wrong}
    assert site.visitor("admin").post("/api/admin/announcements", json=body).status_code == 400
    assert site.house.announcements.told == {}


def test_users_see_why_and_until_when_nothing_is_started(site: Site) -> None:
    site.house.lifecycle.maintenance.one = Maintenance("admin", NOW, NOW + 1e9, "New fans")
    ann = site.visitor("ann")
    assert ann.get("/api/user/state").get_json()["phase"] == "maintenance"
    page = ann.get("/").text
    assert "Starting is paused for maintenance" in page
    assert "Planned until 2058" in page
    assert "New fans" in page
    assert "hidden" in page.split('data-form="start"')[1].split(">")[0]
    assert "hidden" not in page.split('data-form="join"')[1].split(">")[0]
    told = ann.post("/api/user/line").get_json()
    assert (told["phase"], told["line"]["no_estimate"]) == ("waiting", "maintenance")
    assert "The line stands still during maintenance" in ann.get("/").text
    # An offer that the watch is about to take back is none any more.
    site.house.lifecycle.line.put(site.house.ann, offered_port=8001)
    assert ann.get("/api/user/state").get_json()["phase"] == "waiting"
    site.house.lifecycle.put(8002, State.RUNNING, site.house.bob)
    assert site.visitor("bob").get("/api/user/state").get_json()["phase"] == "running"


def test_admins_see_how_far_the_house_has_run_empty(site: Site) -> None:
    lifecycle = site.house.lifecycle
    lifecycle.maintenance.one = Maintenance("admin", NOW)
    lifecycle.put(8001, State.RUNNING, site.house.ann)
    lifecycle.put(8002, State.RUNNING, site.house.bob)
    site.house.watch.readings[8001] = Reading(running=1)
    admin = site.visitor("admin")
    assert "2 ComfyUI still there, 1 at work" in admin.get("/admin").text
    for port in (8001, 8002):
        lifecycle.put(port, State.IDLE, site.house.ann)
    assert ">Nothing runs any more: safe to stop now<" in admin.get("/admin").text
    metrics = site.visitor().get("/metrics", Authorization=f"Bearer {'m' * 64}").text
    assert "comfyui_manager_maintenance 1.0" in metrics


def test_a_page_that_says_what_failed_does_not_fail_of_the_same(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = site.visitor("ann")

    def fail(_user_id: int) -> None:
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(site.house.announcements, "of_user", fail)
    assert ann.get("/nowhere").status_code == 404
    assert ann.get("/account").status_code == 200
    assert ann.get("/").status_code == 500
