"""The waiting line on the pages and in the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.states import State
from manager.web.places import rounded
from tests.support.web import NOW, Site, instance


@pytest.fixture
def site(tmp_path: Path) -> Site:
    built = Site(tmp_path, PORTS="8001:9001:9081:1")
    built.house.lifecycle.put(8001, State.RUNNING, built.house.bob)
    return built


def form(page: str, name: str) -> str:
    """Give a form's opening tag."""
    return page.split(f'data-form="{name}"')[1].split(">")[0]


def test_joining_and_leaving(site: Site) -> None:
    ann = site.visitor("ann")
    assert ann.get("/api/user/state").get_json()["phase"] == "full"
    answer = ann.post("/api/user/line")
    assert answer.status_code == 202
    state = answer.get_json()
    assert state["phase"] == "waiting"
    assert state["line"] == {
        "automatic": False,
        "limit": 120,
        "held": [],
        "missed_at": None,
        "place": 1,
        "total": 1,
        "estimate": None,
        "no_estimate": "none",
        "offer": None,
    }
    state = ann.send("DELETE", "/api/user/line").get_json()
    assert (state["phase"], state["line"]) == ("full", None)


def test_leaving_is_taken_back(site: Site) -> None:
    ann = site.visitor("ann")
    ann.post("/api/user/line")
    ann.send("DELETE", "/api/user/line")
    answer = ann.post("/api/user/line/take-back")
    assert answer.status_code == 202
    assert answer.get_json()["phase"] == "waiting"
    again = ann.post("/api/user/line/take-back")
    assert again.status_code == 404
    assert "join again" in again.get_json()["error"]["message"]


def test_a_full_house_offers_the_line_also_without_a_script(site: Site) -> None:
    ann = site.visitor("ann")
    page = ann.get("/").text
    assert "hidden" in form(page, "start")
    assert "hidden" not in form(page, "join")
    # Somebody was quicker than the page: no error, but the page that offers the line.
    assert ann.post("/start").headers["Location"] == "/"
    assert ann.post("/line").headers["Location"] == "/"
    page = ann.get("/").text
    assert "Place 1 of 1" in page
    assert "There is no estimate yet" in page
    assert "hidden" in form(page, "start")
    assert "hidden" in form(page, "join")
    assert ann.post("/line/leave").headers["Location"] == "/"
    assert "Place 1 of 1" not in ann.get("/").text


def test_the_turn_is_shown_and_its_port_is_free_for_nobody_else(site: Site) -> None:
    lifecycle = site.house.lifecycle
    lifecycle.rows[8001] = instance(8001)
    lifecycle.line.put(site.house.ann, offered_port=8001, claim_until=NOW)
    ann, bob = site.visitor("ann"), site.visitor("bob")
    state = ann.get("/api/user/state").get_json()
    assert (state["phase"], state["cards"]["free"]) == ("turn", 1)
    assert state["line"]["offer"] == {"port": 8001, "card": 1, "seconds": 90}
    page = ann.get("/").text
    assert "It is your turn" in page
    assert "1:30" in page
    assert "hidden" not in form(page, "start")
    other = bob.get("/api/user/state").get_json()
    assert (other["phase"], other["cards"]["free"], other["line"]) == ("full", 0, None)


def test_who_missed_his_turn_is_told_and_may_join_again(site: Site) -> None:
    site.house.lifecycle.line.put(site.house.ann, missed_at=NOW)
    ann = site.visitor("ann")
    state = ann.get("/api/user/state").get_json()
    assert (state["phase"], state["line"]["missed_at"], state["line"]["place"]) == (
        "full",
        NOW,
        None,
    )
    page = ann.get("/").text
    assert "you did not start within 2:00" in page
    assert "Join the line again" in page
    assert ann.post("/api/user/line").get_json()["phase"] == "waiting"


def test_who_waits_for_what_is_held_back_is_told_so(site: Site) -> None:
    lifecycle = site.house.lifecycle
    lifecycle.line.put(site.house.ann)
    lifecycle.rows[8001] = instance(8001)
    lifecycle.unavailable[8001] = "its ports are taken"
    page = site.visitor("ann").get("/").text
    assert "what you may use is held back" in page
    assert "earlier sessions do not say enough" not in page.split("data-page-data")[0]
    del lifecycle.unavailable[8001]
    lifecycle.put(8001, State.RUNNING, site.house.bob)
    page = site.visitor("ann").get("/").text.split("data-page-data")[0]
    assert "what you may use is held back" not in page


def test_a_page_without_a_script_looks_again_by_itself_while_something_is_to_come(
    site: Site,
) -> None:
    ann = site.visitor("ann")
    assert 'http-equiv="refresh"' not in ann.get("/").text
    ann.post("/line")
    assert '<noscript><meta http-equiv="refresh"' in ann.get("/").text


def test_an_estimate_comes_from_earlier_sessions(site: Site) -> None:
    site.house.lifecycle.line.sessions = [600.0] * 5
    site.house.lifecycle.put(8001, State.STOPPING, site.house.bob)
    site.house.lifecycle.line.put(site.house.bob, id=1, user_id=9)
    site.house.lifecycle.line.put(site.house.ann, id=2)
    page = site.visitor("ann").get("/").text
    assert "it is your turn in about 9–10 min" in page


@pytest.mark.parametrize(
    ("early", "late", "low", "high", "form"),
    [
        (0, 5, 0, 1, "up_to_minutes"),
        (130, 400, 2, 7, "minutes"),
        (620, 2300, 10, 40, "minutes"),
        (600, 600, 9, 10, "minutes"),
        (3500, 7100, 30, 120, "minutes"),
        (4000, 20_000, 1, 6, "hours"),
        (100, 20_000, 0, 6, "up_to_hours"),
    ],
)
def test_an_estimate_is_rounded_outwards(
    early: float, late: float, low: int, high: int, form: str
) -> None:
    assert rounded(early, late) == {"low": low, "high": high, "form": form}


def test_admins_see_who_waits_in_order_and_remove_one(site: Site) -> None:
    line = site.house.lifecycle.line
    line.put(site.house.ann, id=2)
    line.put(site.house.bob, id=1, assigned_port=8001, offered_port=8001)
    admin = site.visitor("admin")
    shown = admin.get("/api/admin/overview").get_json()["line"]
    assert [one["username"] for one in shown] == ["bob", "ann"]
    assert shown[0]["offered_port"] == 8001
    page = admin.get("/admin").text
    assert "port 8001 is kept for this user now" in page
    assert page.index("Remove bob from the line") < page.index("Remove ann from the line")
    answer = admin.send("DELETE", f"/api/admin/line/{site.house.bob.id}")
    assert [one["username"] for one in answer.get_json()["line"]] == ["ann"]
    again = admin.send("DELETE", f"/api/admin/line/{site.house.bob.id}")
    assert again.get_json()["error"]["key"] == "not_found.line"


def test_places_are_told_live(site: Site) -> None:
    ann, admin = site.visitor("ann").connect(), site.visitor("admin").connect()
    site.house.lifecycle.line.put(site.house.ann)
    for client in (ann, admin):
        client.get_received()
    site.house.changed(set(), {site.house.ann.id})
    site.live.push(100.0)
    (told,) = (e["args"][0] for e in ann.get_received())
    assert told["line"]["place"] == 1
    diffs = [e["args"][0] for e in admin.get_received() if e["name"] == "overview_diff"]
    assert diffs[0]["line"][0]["username"] == "ann"


def test_a_port_that_gets_kept_is_told_to_everybody(site: Site) -> None:
    lifecycle = site.house.lifecycle
    lifecycle.rows[8001] = instance(8001)
    client = site.visitor("bob").connect()
    site.live.push(100.0)
    client.get_received()
    lifecycle.line.put(site.house.ann, offered_port=8001)
    site.house.changed({8001}, {site.house.ann.id})
    site.live.push(101.0)
    (told,) = (e["args"][0] for e in client.get_received())
    assert told["cards"]["free"] == 0
