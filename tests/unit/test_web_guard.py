"""Who may pass: every route for every kind of visitor, Origin, CSRF, headers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from manager.answer_headers import HEADERS
from manager.web import assets
from tests.support.routes import CHANGING, KNOWN, ROUTES, VISITORS
from tests.support.web import ORIGIN, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("who", range(4), ids=["nobody", "user", "admin", "must-change"])
@pytest.mark.parametrize("route", ROUTES, ids=[f"{r[0]} {r[1]}" for r in ROUTES])
def test_each_route_lets_pass_whom_it_should(site: Site, route: tuple[Any, ...], who: int) -> None:
    method, path, body, *statuses = route
    visitor = site.visitor(VISITORS[who])
    answer = visitor.get(path) if method == "GET" else visitor.send(method, path, json=body)
    assert answer.status_code == statuses[who], answer.text


def test_no_route_is_missing_from_the_table(site: Site) -> None:
    adapter = site.app.url_map.bind("manager.test")
    reached = {(adapter.match(path.split("?")[0], method)[0], method) for method, path in KNOWN}
    there = {
        (rule.endpoint, method)
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert reached == there


@pytest.mark.parametrize(("method", "path"), [*CHANGING, ("POST", "/login")])
def test_a_change_without_a_csrf_token_is_refused(site: Site, method: str, path: str) -> None:
    visitor = site.visitor("admin")
    answer = visitor.send(method, path, csrf=False)
    assert answer.status_code == 400
    if path.startswith("/api/"):
        assert answer.get_json()["error"]["code"] == "csrf"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://manager.test:9081"},
        {"Origin": "http://evil.test"},
        {"Origin": "https://manager.test:8880"},
        {"Origin": "null"},
        {},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "path"), [*CHANGING, ("POST", "/login")])
def test_a_change_from_elsewhere_is_refused(
    site: Site, method: str, path: str, headers: dict[str, str]
) -> None:
    visitor = site.visitor("admin")
    answer = visitor.send(method, path, origin=None, headers=headers)
    assert answer.status_code == 403
    assert not site.house.lifecycle.stops
    assert visitor.get("/").status_code == 200, "still logged in"


def test_behind_https_the_origin_is_https(tmp_path: Path) -> None:
    site = Site(tmp_path, COOKIE_SECURE="true")
    visitor = site.visitor()
    refused = visitor.post("/language", data={"language": "en"})
    assert refused.status_code == 403
    cookie = site.visitor().get("/login").headers["Set-Cookie"]
    assert "Secure" in cookie


def test_a_same_origin_page_passes(site: Site) -> None:
    visitor = site.visitor("ann")
    answer = visitor.post("/api/user/start", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "path", ["/login", "/api/user/state", "/nowhere", f"{assets.address()}/css/base.css"]
)
def test_every_answer_carries_the_headers(site: Site, path: str) -> None:
    answer = site.visitor().get(path)
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "unsafe" not in answer.headers["Content-Security-Policy"]


def test_pages_are_not_kept_and_static_files_for_good(site: Site) -> None:
    visitor = site.visitor()
    assert visitor.get("/login").headers["Cache-Control"] == "no-store"
    static = visitor.get(f"{assets.address()}/js/lib/api.js")
    assert static.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert visitor.get("/static/js/lib/api.js").headers["Cache-Control"] == "no-store"
    again = visitor.get(
        f"{assets.address()}/js/lib/api.js", **{"If-None-Match": static.headers["ETag"]}
    )
    assert again.status_code == 304


def test_the_session_cookie_is_closed_to_scripts_and_holds_no_name(site: Site) -> None:
    visitor = site.visitor()
    answer = visitor.log_in("ann")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("comfyui_manager_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    with visitor.client.session_transaction(base_url=ORIGIN) as session:
        assert set(session) <= {"sid", "csrf_token", "_permanent"}


def test_login_begins_a_new_session(site: Site) -> None:
    visitor = site.visitor("ann")
    with visitor.client.session_transaction(base_url=ORIGIN) as session:
        before = session["sid"]
    visitor.log_in("bob")
    with visitor.client.session_transaction(base_url=ORIGIN) as session:
        assert session["sid"] != before
    assert before not in site.house.accounts.sessions


def test_a_csrf_token_from_before_the_login_is_worth_nothing(site: Site) -> None:
    visitor = site.visitor()
    before = visitor.csrf()
    visitor.log_in("ann")
    answer = visitor.post("/api/user/start", csrf=False, headers={"X-CSRFToken": before})
    assert answer.status_code == 400


def test_a_forged_cookie_is_nobody(site: Site) -> None:
    visitor = site.visitor("ann")
    visitor.client.set_cookie("comfyui_manager_session", "forged", domain="manager.test")
    assert visitor.get("/api/user/state").status_code == 401
