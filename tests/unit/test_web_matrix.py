"""Every route and live event for every kind of visitor, by every method, from the app itself.

``test_web_guard`` has what nobody, a user, an admin and one who must change get of each route; here
is what must hold for all of them at once: other methods, other people's things, ended sessions,
tokens of other sessions, other kinds of body.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manager.states import State
from manager.web import live
from tests.support.routes import CHANGING, JSON, KNOWN, NO_TOKEN, READING, ROUTES, VISITORS
from tests.support.tokens import OVER
from tests.support.web import ORIGIN, TOKEN, Site, Visitor

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "XYZ")
PATHS = sorted({path for _, path in KNOWN})
PEOPLE = [*VISITORS, "disabled", "deleted"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.house.lifecycle.log = "what ann's ComfyUI printed"
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    return site


def person(site: Site, who: str | None) -> Visitor:
    """Give somebody; who is disabled or deleted was logged in before that."""
    if who not in {"disabled", "deleted"}:
        return site.visitor("bob" if who == "ann" else who)
    accounts = site.house.accounts
    accounts.add(9, "carla")
    visitor = site.visitor("carla")
    if who == "deleted":
        del accounts.all[9]
    else:
        accounts.add(9, "carla", is_active=False)
    return visitor


def things(site: Site) -> Any:
    """Give all that a request could change."""
    house = site.house
    rows = house.lifecycle
    held = (rows.rows, rows.stops, rows.line.rows, rows.quarantine.held, rows.leftovers.stopped)
    return copy.deepcopy((held, house.accounts.all, house.accounts.password_changes))


@pytest.mark.parametrize("ended", ["disabled", "deleted"])
def test_who_is_disabled_or_deleted_is_nobody_at_once(site: Site, ended: str) -> None:
    visitor = person(site, ended)
    before = things(site)
    for method, path, body, nobody, *_ in ROUTES:
        answer = visitor.get(path) if method == "GET" else visitor.send(method, path, json=body)
        assert answer.status_code == nobody, (method, path)
    assert things(site) == before


@pytest.mark.parametrize("who", PEOPLE, ids=str)
def test_no_other_method_does_anything(site: Site, who: str | None) -> None:
    visitor = person(site, who)
    sent = {**visitor.headers, "X-CSRFToken": visitor.csrf(), "Origin": ORIGIN}
    before = things(site)
    for method, path in itertools.product(METHODS, PATHS):
        if (method, path) in KNOWN and method != "GET":
            continue
        answer = visitor.client.open(
            path, method=method, base_url=ORIGIN, headers=sent, buffered=True
        )
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
        if method not in {"GET", "HEAD", "OPTIONS"}:
            assert answer.status_code in {401, 403, 404, 405, 302}, (method, path)
            assert answer.status_code != 302 or answer.location in {"/login", "/password"}
    assert things(site) == before


@pytest.mark.parametrize("who", PEOPLE, ids=str)
def test_head_and_options_say_no_more_than_get(site: Site, who: str | None) -> None:
    visitor = person(site, who)
    for _, path, *_ in READING:
        got = visitor.get(path)
        head = visitor.client.head(path, base_url=ORIGIN, headers=visitor.headers, buffered=True)
        assert (head.status_code, head.data) == (got.status_code, b""), path
        options = visitor.client.options(path, base_url=ORIGIN, headers=visitor.headers)
        assert options.status_code != 200 or options.data == b"", path
        if got.status_code in {401, 403}:
            assert options.status_code == got.status_code, path


@pytest.mark.parametrize("who", [w for w in PEOPLE if w != "admin"], ids=str)
def test_nobody_but_its_owner_and_admins_gets_at_an_instance(site: Site, who: str | None) -> None:
    bodies = {(method, path): body for method, path, body in JSON}
    owner = site.house.accounts.add(8, "zoe-who-has-8001")
    owned = (site.house.lifecycle.put(8001, State.RUNNING, owner), owner)
    for method, path in sorted(KNOWN):
        # A new login each time: some of these end the one they came by.
        visitor = person(site, who)
        if method == "GET":
            answer = visitor.get(path)
        else:
            answer = visitor.send(method, path, json=bodies.get((method, path), {"user_id": 8}))
        for secret in (TOKEN, "launch-8001", owner.username):
            assert secret not in answer.text, (method, path)
        assert (site.house.lifecycle.rows[8001], site.house.accounts.all[8]) == owned, path


def test_no_admin_is_shown_a_link_either(site: Site) -> None:
    visitor = site.visitor("admin")
    for _, path, *_ in READING:
        assert TOKEN not in visitor.get(path).text, path
    owner = site.visitor("ann")
    assert TOKEN in owner.get("/").text, "its owner is"
    assert TOKEN in owner.get("/api/user/state").text


def _of_another_session(site: Site, _visitor: Visitor) -> dict[str, Any]:
    return {"headers": {"X-CSRFToken": site.visitor("admin").csrf()}}


def _of_a_user(site: Site, _visitor: Visitor) -> dict[str, Any]:
    return {"headers": {"X-CSRFToken": site.visitor("ann").csrf()}}


def _changed(_site: Site, visitor: Visitor) -> dict[str, Any]:
    right = visitor.csrf()
    # Not the last letter, some of whose bits mean nothing.
    other = "A" if right[-9] != "A" else "B"
    return {"headers": {"X-CSRFToken": right[:-9] + other + right[-8:]}}


def _empty(_site: Site, _visitor: Visitor) -> dict[str, Any]:
    return {"headers": {"X-CSRFToken": ""}}


def _in_the_address(_site: Site, visitor: Visitor) -> dict[str, Any]:
    return {"query_string": {"csrf_token": visitor.csrf()}}


def _in_a_cookie(_site: Site, visitor: Visitor) -> dict[str, Any]:
    visitor.client.set_cookie("csrf_token", visitor.csrf(), domain="manager.test")
    return {}


WRONG = (_of_another_session, _of_a_user, _changed, _empty, _in_the_address, _in_a_cookie)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.__name__.strip("_"))
def test_a_wrong_csrf_token_is_none(
    site: Site, wrong: Callable[[Site, Visitor], dict[str, Any]]
) -> None:
    visitor = site.visitor("admin")
    sent = wrong(site, visitor)
    before = things(site)
    for method, path in [*CHANGING, ("POST", "/login")]:
        target = path.split("?")[0] if "query_string" in sent else path
        answer = visitor.send(method, target, csrf=False, **sent)
        assert answer.status_code == 400, (method, path)
    assert things(site) == before


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/jsonp",
        "text/json",
        "",
    ],
)
def test_what_a_plain_form_can_send_is_no_body(site: Site, kind: str) -> None:
    visitor = site.visitor("admin")
    before = things(site)
    for method, path, body in JSON:
        answer = visitor.send(method, path, data=json.dumps(body), content_type=kind)
        assert answer.status_code == 400, (method, path)
    assert things(site) == before


# Tokens. They open the API and nothing else; on all other pages who sends one is nobody.

GOOD = {"read": "ann", "use": "ann", "admin's use": "admin", "admin": "admin"}
"""Whose token it is, by what the token is for."""

WRONG_TOKENS = ("unknown", "expired", "revoked", "disabled", "no longer an admin", "must change")


def bearer(site: Site, which: str) -> dict[str, str]:
    """Give the header of a kind of token."""
    house = site.house
    tokens, accounts = house.api_tokens, house.accounts
    scope = which.rpartition(" ")[2] if which in GOOD else "admin"
    owner = house.admin if GOOD.get(which) == "admin" else house.ann
    if which == "must change":
        owner = house.new
    elif which not in GOOD:
        owner = accounts.add(9, "carla", is_admin=which != "no longer an admin")
    token = tokens.add(owner, scope, **({"expires_at": OVER} if which == "expired" else {}))
    if which == "revoked":
        tokens.revoke(owner, tokens.rows[token].id)
    if which == "disabled":
        accounts.add(9, "carla", is_active=False)
    return {"Authorization": f"Bearer {'cmm_nothing' if which == 'unknown' else token}"}


def scope_for(which: str, method: str, path: str) -> bool:
    """Tell whether the token ought to be enough."""
    if (method, path) in NO_TOKEN:
        return False
    if path.startswith("/api/admin/"):
        return which == "admin"
    return method == "GET" or which != "read"


@pytest.mark.parametrize("which", GOOD)
def test_a_token_opens_what_its_scope_says_and_no_more(tmp_path: Path, which: str) -> None:
    site = Site(tmp_path)
    for method, path, body, nobody, user, admin, _ in ROUTES:
        if (method, path) in CHANGING and path.startswith("/api/"):
            site = Site(tmp_path)
        visitor = site.visitor(None, **bearer(site, which))
        if method == "GET":
            answer = visitor.get(path)
        else:
            answer = visitor.send(method, path, json=body, origin=None, csrf=False)
        if not path.startswith("/api/"):
            # A page takes neither token nor change without its origin.
            assert answer.status_code == (nobody if method == "GET" else 403), (method, path)
            continue
        wanted = admin if GOOD[which] == "admin" else user
        wanted = wanted if scope_for(which, method, path) else 403
        assert answer.status_code == wanted, (method, path, answer.text)
        assert "Set-Cookie" not in answer.headers, path


@pytest.mark.parametrize("which", WRONG_TOKENS)
def test_a_token_that_is_over_opens_nothing(site: Site, which: str) -> None:
    visitor = site.visitor(None, **bearer(site, which))
    before = things(site)
    for method, path, body, *_ in ROUTES:
        if not path.startswith("/api/"):
            continue
        if which == "no longer an admin" and not path.startswith("/api/admin/"):
            continue
        answer = visitor.send(method, path, json=body, origin=None, csrf=False)
        refused = 403 if which in {"no longer an admin", "must change"} else 401
        assert answer.status_code == refused, (method, path)
    assert things(site) == before


def test_every_exception_is_a_route() -> None:
    assert NO_TOKEN <= KNOWN


# Live connections.

EVENTS: dict[str, set[str]] = {
    live.STATE_EVENT: {"ann", "admin"},
    live.STATE_DIFF_EVENT: {"ann", "admin"},
    live.OVERVIEW_EVENT: {"admin"},
    live.OVERVIEW_DIFF_EVENT: {"admin"},
}
"""Who is told each of them; to anybody but himself a state says nothing of ann."""


def test_no_event_is_missing_from_the_table() -> None:
    assert {value for name, value in vars(live).items() if name.endswith("_EVENT")} == set(EVENTS)


def test_pages_only_listen(site: Site) -> None:
    handlers = site.socketio.server.handlers  # type: ignore[attr-defined]
    assert {space: set(events) for space, events in handlers.items()} == {
        "/": {"connect", "disconnect"}
    }
    assert site.socketio.server.namespace_handlers == {}  # type: ignore[attr-defined]


@pytest.mark.parametrize("who", [None, "ann", "admin", "new", "disabled", "deleted"], ids=str)
def test_each_event_reaches_whom_it_should(site: Site, who: str | None) -> None:
    visitor = site.visitor("ann") if who == "ann" else person(site, who)
    client = visitor.connect()
    told: list[dict[str, Any]] = client.get_received() if client.is_connected() else []
    site.house.lifecycle.put(8002, State.RUNNING, site.house.bob)
    site.house.changed({8001, 8002}, {2, 3})
    site.live.push(10.0)
    told += client.get_received() if client.is_connected() else []
    assert {one["name"] for one in told} == {
        event for event, people in EVENTS.items() if who in people
    }
    assert (TOKEN in json.dumps(told)) is (who == "ann")


@pytest.mark.parametrize("who", ["ann", "admin"])
def test_what_a_page_sends_is_heard_by_nobody(site: Site, who: str) -> None:
    client = site.visitor(who).connect()
    client.get_received()
    before = things(site)
    payloads: list[Any] = [{"port": 8001}, "admins", 1, None, [[]]]
    for event in (*EVENTS, "join", "start", "stop", "message", "connect", "disconnecting"):
        for data in payloads:
            client.emit(event, data)
    assert things(site) == before
    assert client.get_received() == []
    assert len(site.live.connections()) == 1


@pytest.mark.parametrize("space", ["/admin", "/live", "/*", "/user/2", "//", "/socket.io"])
def test_there_is_no_other_namespace_to_be_guessed(site: Site, space: str) -> None:
    visitor = site.visitor("admin")
    client = site.socketio.test_client(
        site.app,
        namespace=space,
        headers={"Host": "manager.test"},
        flask_test_client=visitor.client,
    )
    assert not client.is_connected(space)
    assert site.live.connections() == []


@pytest.mark.parametrize("ending", ["disabled", "logged out", "password", "demoted"])
def test_an_open_connection_ends_with_its_rights(site: Site, ending: str) -> None:
    visitor = site.visitor("admin")
    client = visitor.connect()
    client.get_received()
    accounts = site.house.accounts
    if ending == "disabled":
        accounts.add(1, "admin", is_admin=True, is_active=False)
    elif ending == "demoted":
        accounts.add(1, "admin")
    elif ending == "password":
        accounts.end_sessions(1)
    else:
        visitor.post("/logout")
    site.live.accounts_changed()
    site.house.lifecycle.put(8002, State.RUNNING, site.house.bob)
    site.house.changed({8002}, {1, 3})
    site.live.push(20.0)
    assert not client.is_connected()
    assert site.live.connections() == []
