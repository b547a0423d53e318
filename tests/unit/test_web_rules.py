"""Limits and reservations on the pages and in the API."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from manager.allowance import Blocked, TimeLeft
from manager.permits import Reservation, UserLimits
from manager.states import State
from manager.web.live import OVERVIEW_DIFF_EVENT, STATE_DIFF_EVENT
from tests.support.web import NOW, Site, Visitor, instance

ALL = {"priority": "high", "sessions_at_once": 1, "day_limit": 7200, "session_limit": None}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, PORTS="8001:9001:9081:1,8002:9002:9082:2", SESSION_LIMIT="3600")


def state(visitor: Visitor) -> dict[str, Any]:
    found: dict[str, Any] = visitor.get("/api/user/state").get_json()
    return found


def painted(visitor: Visitor, path: str = "/") -> str:
    """Give a page as it is without its script."""
    return visitor.get(path).text.split("data-page-data")[0]


def reserve(site: Site, port: int, *user_ids: int, **more: Any) -> None:
    entry = Reservation(port, "admin", NOW, user_ids=frozenset(user_ids), **more)
    site.house.lifecycle.reservations.rows[port] = entry


def test_limits_are_set_and_shown_with_what_is_in_force(site: Site) -> None:
    admin = site.visitor("admin")
    answer = admin.send("PUT", "/api/admin/users/2/limits", json=ALL)
    assert answer.status_code == 200
    mine = next(one for one in answer.get_json()["limits"] if one["user_id"] == 2)
    assert mine["day_limit"] == 7200
    assert mine["session_limit"] is None
    assert mine["in_force"]["session_limit"] == 3600
    assert site.house.lifecycle.limits.own[2] == UserLimits(2, "high", 1, 7200, None)
    page = painted(admin, "/admin")
    assert "priority high · may start · 2.0 h a day · sessions up to 1.0 h (default)" in page
    assert "as for everybody (1.0 h)" in page
    assert "as for everybody (no limit)" in page


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": "highest"},
        {"sessions_at_once": 2},
        {"day_limit": -1},
        {"day_limit": 90_000},
        {"session_limit": "long"},
        {"more": 1},
    ],
)
def test_limits_that_make_no_sense_are_refused(site: Site, wrong: dict[str, Any]) -> None:
    answer = site.visitor("admin").send("PUT", "/api/admin/users/2/limits", json={**ALL, **wrong})
    assert answer.status_code == 400
    assert site.house.lifecycle.limits.own == {}


def test_a_reservation_is_made_shown_and_taken_back(site: Site) -> None:
    admin = site.visitor("admin")
    body = {"user_ids": [2, 3], "until": NOW + 1e9, "reason": "<b>course</b>"}
    answer = admin.send("PUT", "/api/admin/ports/8001/reservation", json=body)
    (shown,) = answer.get_json()["reservations"]
    assert shown == {
        "port": 8001,
        "user_ids": [2, 3],
        "usernames": ["ann", "bob"],
        "until": NOW + 1e9,
        "reserved_by": "admin",
        "reserved_at": NOW,
        "reason": "<b>course</b>",
    }
    page = painted(admin, "/admin")
    assert "Reserved for ann, bob · until 2058" in page
    assert "&lt;b&gt;course&lt;/b&gt;" in page
    answer = admin.send("DELETE", "/api/admin/ports/8001/reservation")
    assert answer.get_json() == {"reservations": []}
    assert admin.send("DELETE", "/api/admin/ports/8001/reservation").status_code == 404


def test_a_drained_port_is_said_to_its_user_while_he_works_and_after(site: Site) -> None:
    site.house.accounts.all[2] = ann = site.house.accounts.add(2, "ann", assigned_port=8001)
    site.house.lifecycle.put(8001, State.RUNNING, ann)
    reserve(site, 8001, reason="new fan")
    visitor = site.visitor("ann")
    assert state(visitor)["reservation"] == {
        "kind": "after",
        "card": 1,
        "until": None,
        "reason": "new fan",
    }
    page = painted(visitor)
    assert "Card 1 is reserved for others, or goes out of use, after you" in page
    assert "Reason: new fan" in page
    assert "Goes out of use once ann has ended" in painted(site.visitor("admin"), "/admin")
    site.house.lifecycle.rows[8001] = instance(8001)
    told = state(visitor)
    assert (told["phase"], told["cards"]["reserved"]) == ("reserved", 1)
    page = painted(visitor)
    assert "Your card is not available" in page
    assert "Card 1 is out of use." in page
    assert "hidden" not in page.split('data-form="join"')[1].split(">")[0]
    assert visitor.post("/api/user/line").get_json()["line"]["no_estimate"] == "reserved"
    assert "what you may use is reserved or out of use" in painted(visitor)


def test_who_a_card_is_kept_for_is_told_and_others_count_it_not(site: Site) -> None:
    reserve(site, 8001, 2)
    ann, bob = site.visitor("ann"), site.visitor("bob")
    assert (state(ann)["cards"]["free"], state(bob)["cards"]["free"]) == (2, 1)
    assert state(ann)["reservation"]["kind"] == "mine"
    assert "Card 1 is reserved for you." in painted(ann)
    assert state(bob)["reservation"] is None
    reserve(site, 8002, until=NOW + 60)
    assert (state(bob)["phase"], state(bob)["reservation"]["kind"]) == ("reserved", "all")
    assert "All cards are reserved or out of use." in painted(bob)
    site.house.accounts.all[3] = site.house.accounts.add(3, "bob", assigned_port=8001)
    assert state(bob)["reservation"]["kind"] == "others"


def test_a_used_up_day_says_when_it_is_possible_again(site: Site) -> None:
    limits = site.house.lifecycle.limits
    limits.own[2] = UserLimits(2, day_limit=7200)
    limits.used = 7300.0
    again = time.time() + 3600
    limits.blocks[2] = Blocked("day", again)
    ann = site.visitor("ann")
    told = state(ann)
    assert told["phase"] == "day_used"
    assert 3590 < told["limits"]["again_in"] <= 3601
    page = painted(ann)
    assert "Your time for today is used up" in page
    assert "Allowed: 2.0 h a day. Today so far: 2.0 h." in page
    assert "hidden" in page.split('data-form="start"')[1].split(">")[0]
    limits.blocks[2] = Blocked("sessions")
    assert state(ann)["phase"] == "no_sessions"
    assert "You cannot start at the moment" in painted(ann)


@pytest.mark.parametrize(
    ("left", "words", "to_admins"),
    [
        (TimeLeft(7200.0, "session"), "This session may last another 2:00:00", "2:00:00 left"),
        (TimeLeft(600.0, "day"), "Your time for today ends in 10:00", "10:00 left"),
        (TimeLeft(-60.0, "session"), "Please add nothing more", "Time over for 1:00; ends once"),
        (TimeLeft(-60.0, "day", 30.0), "In 0:30 the workspace closes", "Time over for 1:00; ends"),
        (TimeLeft(-90.0, "day", -1.0), "the workspace is closed", "1:30, workspace closed; ends"),
    ],
)
def test_how_long_a_session_may_go_on_is_counted_down(
    site: Site, left: TimeLeft, words: str, to_admins: str
) -> None:
    lifecycle = site.house.lifecycle
    lifecycle.put(8001, State.RUNNING, site.house.ann)
    lifecycle.limits.times[8001] = left
    ann = site.visitor("ann")
    assert words in painted(ann)
    assert to_admins in painted(site.visitor("admin"), "/admin")
    told = state(ann)["instance"]
    assert told["time"]["over"] == (left.seconds <= 0)
    # Behind a closed gate a link would lead nowhere.
    assert (told["workspace_url"] is None) == left.shut


def test_everybody_is_told_of_a_reservation_and_of_its_end(site: Site) -> None:
    bob, admin = site.visitor("bob").connect(), site.visitor("admin").connect()
    site.live.push(0.0)
    for client in (bob, admin):
        client.get_received()
    reserve(site, 8001)
    site.live.push(10.0)
    (told,) = [one["args"][0] for one in bob.get_received() if one["name"] == STATE_DIFF_EVENT]
    assert told["cards"]["reserved"] == 1
    diffs = [one["args"][0] for one in admin.get_received() if one["name"] == OVERVIEW_DIFF_EVENT]
    assert diffs[-1]["reservations"][0]["port"] == 8001
    # Over by itself: nobody asks for it by a request.
    del site.house.lifecycle.reservations.rows[8001]
    site.live.push(20.0)
    (told,) = [one["args"][0] for one in bob.get_received() if one["name"] == STATE_DIFF_EVENT]
    assert told["cards"]["reserved"] == 0


def test_the_line_shows_admins_who_has_another_priority(site: Site) -> None:
    site.house.lifecycle.line.put(site.house.ann, priority="high")
    site.house.lifecycle.line.put(site.house.bob)
    page = painted(site.visitor("admin"), "/admin")
    assert page.count("high priority") == 1
