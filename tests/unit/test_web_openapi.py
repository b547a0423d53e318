"""The description of the API: whole, true of every answer, and the same wherever it stands."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from manager.counts import DiskUse
from manager.permits import UserLimits
from manager.progress import Progress
from manager.records import Leftover, Quarantined, Restart, Unfinished, Usage
from manager.start_times import Usual
from manager.states import State
from manager.web import openapi
from manager.web.answers.ports import NoteKind, Standing
from manager.web.contract import Contracted, contract_of
from manager.web.guard import ADMINS_ONLY
from manager.web.standing import NOTES, STANDINGS
from tests.support.routes import NO_TOKEN, ROUTES, VISITORS
from tests.support.web import NOW, Reading, Site

API = [row for row in ROUTES if row[1].startswith(openapi.ROOT_PATH)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_every_route_of_the_api_has_a_contract(site: Site) -> None:
    bare = [
        f"{method} {rule.rule}: put @contract(<model of the answer>) below the route of "
        f"{view.__module__}.{view.__name__}; models of answers stand in manager/web/answers"
        for rule, method, view in openapi.routes(site.app)
        if contract_of(view) is None
    ]
    assert bare == []


def test_every_route_is_described(site: Site) -> None:
    told = openapi.document(site.app)["paths"]
    operations = {(method.upper(), path) for path, ways in told.items() for method in ways}
    there = {(m, openapi.path_of(rule)) for rule, m, _ in openapi.routes(site.app)}
    assert operations == there
    for ways in told.values():
        for operation in ways.values():
            assert operation["summary"]
            assert {"400", "401", "403", "429"} < operation["responses"].keys()


def test_references_lead_somewhere_and_nothing_is_left_over(site: Site) -> None:
    text = openapi.text(site.app)
    schemas = json.loads(text)["components"]["schemas"]
    for name in schemas:
        assert f'"#/components/schemas/{name}"' in text, name
    assert text.count('"$ref"') == sum(
        text.count(f'"#/components/schemas/{name}"') for name in schemas
    )


def test_rights_are_the_guard_s(site: Site) -> None:
    told = openapi.document(site.app)["paths"]
    for rule, method, view in openapi.routes(site.app):
        security = told[openapi.path_of(rule)][method.lower()]["security"]
        scopes = [one["token"] for one in security if "token" in one]
        assert isinstance(view, Contracted)
        if not view.contract.by_token:
            assert scopes == []
        elif rule.endpoint.startswith(ADMINS_ONLY):
            assert scopes == [["admin"]]
        else:
            assert scopes == [["read"] if method == "GET" else ["use"]]
        assert any("session" in one for one in security)
    closed = {
        (m, rule.endpoint)
        for rule, m, view in openapi.routes(site.app)
        if isinstance(view, Contracted) and not view.contract.by_token
    }
    assert len(closed) == len(NO_TOKEN)


def furnished(site: Site) -> None:
    """Have something of everything that an answer may hold."""
    house, ann = site.house, site.house.ann
    rows = house.lifecycle
    rows.put(8001, State.RUNNING, ann)
    rows.put(8002, State.STARTING, house.bob)
    house.watch.readings[8001] = Reading(running=1, pending=2, idle_left=30.5, hung_since=NOW)
    launch = rows.rows[8001].launch_id or ""
    plain = {one.name: 1 for one in dataclasses.fields(Progress)}
    words = {"launch_id": launch, "told": True, "class_type": "KSampler", "title": "mine"}
    house.follower.known[8001] = Progress(**(plain | words))  # type: ignore[arg-type]
    rows.limits.own[ann.id] = UserLimits(ann.id, "high", 1, 3600, 7200)
    rows.line.put(house.admin, id=7)
    rows.reservations.reserve(8003, [ann.id], NOW, "a course", by=house.admin)
    rows.leftovers.found["lost"] = Leftover("lost", 2, "ann", 8003, 3, 77, NOW)
    rows.quarantine.held[8003] = (Quarantined(8003, 3, "gone", NOW, "memory in use"), True)
    house.announcements.make("notice", "Cake", "", None, by=house.admin)
    rows.maintenance.begin("New fans", NOW, by=house.admin)
    rows.book.usual = Usual(5, 10, 7.5, 5, own=True)
    house.accounts.people.logins[ann.id] = NOW
    house.disk.known[ann.id] = DiskUse(ann.id, NOW, 1.0, {"output": 7}, complete=False)
    rows.unfinished.rows.append(Unfinished("old", ann.id, NOW, 3))
    rows.unfinished.prompts.append({"nodes": 4, "kinds": ["SaveImage"], "was_running": True})


@pytest.mark.parametrize("who", VISITORS, ids=str)
def test_answers_are_what_is_described(tmp_path: Path, who: str | None) -> None:
    for number, (method, path, body, *_) in enumerate(API):
        if method == "GET" and number:
            continue
        site = Site(tmp_path)
        furnished(site)
        # ``Visitor`` compares each of its answers with the route's contract.
        visitor = site.visitor(who)
        for _, reading, *_ in [row for row in API if row[0] == "GET"] if not number else []:
            visitor.get(reading)
        if method != "GET":
            visitor.send(method, path, json=body)


def test_the_words_for_how_ports_stand_are_all_described() -> None:
    assert get_args(Standing) == STANDINGS
    assert get_args(NoteKind) == NOTES


def test_an_ended_session_fits_too(site: Site) -> None:
    evidence = {"idle_seconds": 600, "limit": 600, "unknown": []}
    ended = Usage(
        *("launch", 2, "ann", 8001, 1, NOW, NOW, NOW, "died", "boom", "python_error", "x", -9),
        evidence=json.dumps(evidence),
    )
    site.house.lifecycle.usages[2] = ended
    site.house.lifecycle.restarts[2] = Restart(2, 8001, 4.5, 1, 3)
    state = site.visitor("ann").get("/api/user/state").get_json()
    assert state["last_usage"]["evidence"] == evidence


def test_a_wrong_field_is_named(site: Site) -> None:
    def error(path: str, body: Any) -> Any:
        return site.visitor("admin").send("POST", path, json=body).get_json()["error"]

    assert error("/api/admin/users", {"username": 1, "password": "x"})["field"] == "username"
    assert error("/api/user/keep-awake", {"seconds": 1, "more": 2})["field"] == "more"
    assert error("/api/user/keep-awake", {})["field"] == "seconds"
    refused = site.visitor("admin").get("/api/admin/usage?by=nothing").get_json()["error"]
    assert (refused["code"], refused["field"]) == ("bad_input", "by")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-1", "1e400", str(10**30), "253402300800"])
def test_no_number_that_is_none_gets_in(site: Site, number: str) -> None:
    answer = site.visitor("admin").send(
        "PUT",
        "/api/admin/ports/8001/reservation",
        data=f'{{"user_ids": [], "until": {number}}}',
        content_type="application/json",
    )
    assert answer.status_code == 400
    assert site.house.lifecycle.reservations.rows == {}


def test_it_is_served_to_who_may_use_the_api(site: Site) -> None:
    served = site.visitor("ann").get("/api/openapi.json")
    assert served.mimetype == "application/json"
    assert served.text == openapi.text(site.app)
    assert site.visitor().get("/api/openapi.json").status_code == 401
