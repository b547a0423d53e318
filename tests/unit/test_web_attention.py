"""What asks for an admin's decision: shown to admins alone, and done by them alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.records import Leftover, Quarantined
from manager.web import views
from manager.web.differences import difference
from manager.webhooks.delivery import Failing
from tests.support.web import NOW, Site, Visitor

LOST = Leftover("abc123", 7, "ann", 8001, 1, 4711, NOW)
NAMELESS = Leftover("def456", None, None, None, None, None, None)
HELD = Quarantined(8002, 2, "gone1", NOW, "/dev/davinci1 is still open in process 4712")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    built = Site(tmp_path)
    built.house.lifecycle.leftovers.found = {one.launch_id: one for one in (LOST, NAMELESS)}
    built.house.lifecycle.quarantine.held = {8002: (HELD, True)}
    return built


@pytest.fixture
def admin(site: Site) -> Visitor:
    return site.visitor("admin")


def test_admins_see_both_with_their_reasons(site: Site, admin: Visitor) -> None:
    page = admin.get("/admin").text
    for text in ("abc123", "process 4711", "def456", HELD.reason, "The reason has gone by now."):
        assert text in page
    overview = admin.get("/api/admin/overview").get_json()
    assert [one["launch_id"] for one in overview["leftovers"]] == ["abc123", "def456"]
    assert overview["quarantine"] == [
        {"port": 8002, "card": 2, "since": NOW, "reason": HELD.reason, "clear": True}
    ]


def test_their_rows_in_the_table_of_ports_do_not_look_free(site: Site, admin: Visitor) -> None:
    words = "Not given out, see “Needs your attention”"
    assert admin.get("/admin").text.count(words) == 2
    ports = admin.get("/api/admin/overview").get_json()["ports"]
    assert [port["port"] for port in ports if port["held_back"]] == [8001, 8002]


def test_the_panel_is_hidden_when_there_is_nothing(tmp_path: Path) -> None:
    page = Site(tmp_path).visitor("admin").get("/admin").text
    assert 'aria-labelledby="attention-title" data-attention hidden' in page


def test_an_admin_ends_a_leftover(site: Site, admin: Visitor) -> None:
    answer = admin.post("/api/admin/leftovers/abc123/stop")
    assert answer.status_code == 202
    assert site.house.lifecycle.leftovers.stopped == [("abc123", "admin")]
    shown = {one["launch_id"]: one["ending"] for one in answer.get_json()["leftovers"]}
    assert shown == {"abc123": True, "def456": False}
    missing = admin.post("/api/admin/leftovers/nothing/stop")
    assert missing.status_code == 404
    assert missing.get_json()["error"]["message"] == "This leftover is gone already."


def test_an_admin_releases_a_port(site: Site, admin: Visitor) -> None:
    answer = admin.post("/api/admin/ports/8002/release")
    assert answer.get_json() == {"quarantine": []}
    again = admin.post("/api/admin/ports/8002/release")
    assert again.status_code == 404
    assert again.get_json()["error"]["key"] == "not_found.quarantine"


@pytest.mark.parametrize(
    "path", ["/api/admin/leftovers/abc123/stop", "/api/admin/ports/8002/release"]
)
def test_nobody_else_does(site: Site, path: str) -> None:
    assert site.visitor("ann").post(path).status_code == 403
    assert site.house.lifecycle.leftovers.stopped == []
    assert 8002 in site.house.lifecycle.quarantine.held


def test_a_user_whose_only_port_is_held_back_reads_why(site: Site) -> None:
    site.house.accounts.add(2, "ann", assigned_port=8002)
    site.house.lifecycle.unavailable[8002] = HELD.reason
    page = site.visitor("ann").get("/").text
    assert "Your card is held back" in page
    assert HELD.reason not in page


def test_changes_reach_open_pages(site: Site) -> None:
    before = views.overview(site.house, 0)
    site.house.lifecycle.quarantine.held.clear()
    diff = difference(before, views.overview(site.house, 0))
    assert diff is not None
    assert diff["quarantine"] == []
    (port,) = diff["ports"]
    assert (port["port"], port["held_back"]) == (8002, False)
    assert set(diff) == {"quarantine", "ports"}


def test_a_webhook_that_takes_nothing_is_shown_to_admins(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.house.care.found = [Failing("night-shift", "wecom", NOW, "code 93000")]
    admin = site.visitor("admin")
    page = admin.get("/admin").text
    assert 'aria-labelledby="attention-title" data-attention >' in page
    assert "Webhook night-shift (wecom)" in page
    assert "code 93000, since" in page
    assert admin.get("/api/admin/overview").get_json()["webhooks"] == [
        {"name": "night-shift", "kind": "wecom", "since": NOW, "problem": "code 93000"}
    ]
    assert "night-shift" not in site.visitor("ann").get("/").text
