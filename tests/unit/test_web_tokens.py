"""Requests with a token, and the pages that make and end tokens."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from manager.records import User
from manager.web.tokens import EXTENSION, KEPT_S, JustMade
from tests.support.routes import ROUTES
from tests.support.web import HOST, ORIGIN, PASSWORD, Site, Visitor

NEW = {"name": "nightly", "scope": "use", "days": "30", "password": PASSWORD}
TABLE = "username,is_admin\nbill,no\ncarl,yes\n"
TOKEN = re.compile(r"cmm_[0-9]{43}")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def script(site: Site, scope: str, username: str = "ann", **headers: str) -> Visitor:
    """Give a program with a token of somebody's."""
    owner = next(one for one in site.house.accounts.users() if one.username == username)
    token = site.house.api_tokens.add(owner, scope)
    return site.visitor(None, Authorization=f"Bearer {token}", **headers)


def test_the_token_counts_and_not_the_cookie(site: Site) -> None:
    admin = site.visitor("admin")
    assert admin.get("/api/admin/overview").status_code == 200
    token = site.house.api_tokens.add(site.house.ann, "read")
    sent = {"Authorization": f"Bearer {token}"}
    assert admin.get("/api/admin/overview", **sent).status_code == 403
    assert admin.get("/api/user/state", **sent).get_json()["user"]["username"] == "ann"
    wrong = {"Authorization": "Bearer cmm_wrong"}
    refused = admin.get("/api/user/state", **wrong)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "Set-Cookie" not in refused.headers


@pytest.mark.parametrize("kind", ["Basic YTpi", "Digest x", "bearer", "cmm_1", ""])
def test_another_authorization_leaves_the_cookie_in_force(site: Site, kind: str) -> None:
    status = 401 if kind == "bearer" else 200
    answer = site.visitor("ann").get("/api/user/state", Authorization=kind)
    assert answer.status_code == status


def test_a_token_stands_in_its_header_and_nowhere_else(site: Site) -> None:
    token = site.house.api_tokens.add(site.house.admin, "admin")
    for name in ("token", "access_token", "api_key"):
        visitor = site.visitor()
        assert visitor.get(f"/api/user/state?{name}={token}").status_code == 401
        visitor.client.set_cookie(name, token, domain="manager.test")
        assert visitor.get("/api/user/state").status_code == 401
    visitor.client.set_cookie("comfyui_manager_session", token, domain="manager.test")
    assert visitor.get("/api/user/state").status_code == 401
    for name in ("X-Api-Key", "X-Auth-Token", "Proxy-Authorization"):
        answer = site.visitor(None, **{name: f"Bearer {token}"}).get("/api/user/state")
        assert answer.status_code == 401


def test_tokens_open_no_page_and_no_live_connection(site: Site) -> None:
    visitor = script(site, "admin", "admin")
    assert visitor.get("/").location == "/login"
    assert visitor.get("/admin").location == "/login"
    client = site.socketio.test_client(
        site.app, headers={"Host": HOST, **visitor.headers}, flask_test_client=visitor.client
    )
    assert not client.is_connected()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 202),
        ({"Origin": ORIGIN}, 202),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}, 202),
        ({"Origin": "http://manager.test:9081"}, 403),
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=str,
)
def test_a_browser_that_names_a_page_must_name_ours(
    site: Site, headers: dict[str, str], status: int
) -> None:
    visitor = script(site, "use")
    answer = visitor.send("POST", "/api/user/start", origin=None, csrf=False, headers=headers)
    assert answer.status_code == status


def test_without_a_token_a_script_s_change_is_refused_as_ever(site: Site) -> None:
    visitor = site.visitor("ann")
    assert visitor.send("POST", "/api/user/start", origin=None, csrf=False).status_code == 403


def test_a_refusal_names_the_scope_and_what_no_token_may(site: Site) -> None:
    def key(answer: object) -> str:
        found: str = answer.get_json()["error"]["key"]  # type: ignore[attr-defined]
        return found

    reading, admin = script(site, "read"), script(site, "admin", "admin")
    sent: dict[str, Any] = {"origin": None, "csrf": False}
    refused = reading.send("POST", "/api/user/start", **sent)
    assert key(refused) == "not_permitted.scope"
    assert "use" in refused.get_json()["error"]["message"]
    body = {"old_password": "right password", "new_password": "another one"}
    assert key(admin.send("POST", "/api/user/password", json=body, **sent)) == (
        "not_permitted.token_never"
    )
    assert site.house.accounts.password_changes == []


def test_no_token_changes_who_is_an_admin(site: Site) -> None:
    admin = script(site, "admin", "admin")
    new = {"username": "carl", "password": "a good password", "is_admin": True}
    before = dict(site.house.accounts.all)
    for method, path, body in (
        ("POST", "/api/admin/users", new),
        ("PATCH", "/api/admin/users/3", {"is_admin": True}),
        ("PATCH", "/api/admin/users/1", {"is_admin": False}),
        ("POST", "/api/admin/people/table", {"table": TABLE, "dry_run": True}),
        ("POST", "/api/admin/people/table", {"table": TABLE, "dry_run": False}),
    ):
        answer = admin.send(method, path, json=body, origin=None, csrf=False)
        assert answer.get_json()["error"]["key"] == "not_permitted.token_never"
    assert site.house.accounts.all == before
    plain = {**new, "is_admin": False}
    made = admin.send("POST", "/api/admin/users", json=plain, origin=None, csrf=False)
    assert made.status_code == 201


def test_an_admin_s_token_is_a_user_s_outside_of_the_admins_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path, ADMIN_NETWORKS="192.0.2.0/24")
    elsewhere: list[str] = []

    def at(user: User, address: str) -> User:
        elsewhere.append(address)
        return dataclasses.replace(user, is_admin=False)

    monkeypatch.setattr(site.house.accounts, "at", at)
    admin = script(site, "admin", "admin")
    for method, path, body, *_ in ROUTES:
        if path.startswith("/api/admin/"):
            refused = admin.send(method, path, json=body, origin=None, csrf=False)
            assert refused.get_json()["error"]["key"] == "not_permitted.admins_elsewhere", path
    assert set(elsewhere) == {"127.0.0.1"}
    assert admin.get("/api/user/state").get_json()["user"]["is_admin"] is False


def test_too_many_wrong_ones_are_told_when_to_come_back(site: Site) -> None:
    site.house.api_tokens.throttled = True
    answer = script(site, "use").get("/api/user/state")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "17")


def test_a_route_without_a_contract_is_closed_to_tokens(site: Site) -> None:
    def bare() -> dict[str, bool]:
        return {"open": True}

    site.app.add_url_rule("/api/user/bare", view_func=bare)
    assert script(site, "admin", "admin").get("/api/user/bare").status_code == 403
    assert site.visitor("ann").get("/api/user/bare").status_code == 200


# The pages.


def test_a_new_token_is_shown_once_and_to_its_maker_alone(site: Site) -> None:
    ann, elsewhere = site.visitor("ann"), site.visitor("ann")
    made = ann.post("/account/tokens", data=NEW)
    assert (made.status_code, made.location) == (302, "/account/tokens")
    assert ann.client.head("/account/tokens", base_url=ORIGIN).status_code == 302
    assert elsewhere.get("/account/tokens").status_code == 302
    page = ann.get("/account/tokens")
    (token,) = set(TOKEN.findall(page.text))
    assert page.headers["Cache-Control"] == "no-store"
    assert ann.get("/account/tokens").location == "/account#tokens"
    assert token not in ann.get("/account").text
    assert token[:10] in ann.get("/account").text
    using = site.visitor(None, Authorization=f"Bearer {token}").get("/api/user/state")
    assert using.status_code == 200


def test_a_token_that_nobody_comes_for_is_forgotten(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: JustMade = site.app.extensions[EXTENSION]
    now = 1000.0
    monkeypatch.setattr("manager.web.tokens.time.monotonic", lambda: now)
    token = site.house.api_tokens.make(site.house.ann, "n", "use", 7)
    kept.put("sid", token[0], token[1])
    now += KEPT_S
    assert kept.take("sid") is None


@pytest.mark.parametrize(
    "change",
    [{"name": " "}, {"days": "x"}, {"days": "-1"}, {"name": None}, {"days": None}],
    ids=str,
)
def test_what_is_wrong_with_the_form_stands_beside_it(
    site: Site, change: dict[str, str | None]
) -> None:
    sent = {name: text for name, text in {**NEW, **change}.items() if text is not None}
    answer = site.visitor("ann").post("/account/tokens", data=sent)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text
    assert site.house.api_tokens.rows == {}


def test_only_admins_are_offered_the_admin_s_scope(site: Site) -> None:
    assert 'value="admin"' in site.visitor("admin").get("/account").text
    assert 'value="admin"' not in site.visitor("ann").get("/account").text


def test_where_none_are_allowed_the_page_says_so(site: Site) -> None:
    site.house.api_tokens.days = ()
    page = site.visitor("ann").get("/account").text
    assert "turned API tokens off" in page
    assert 'name="scope"' not in page


def test_owners_and_admins_revoke_and_nobody_else(site: Site) -> None:
    ann, bob, admin = (site.visitor(name) for name in ("ann", "bob", "admin"))
    tokens = site.house.api_tokens
    for name in ("ann", "ann", "bob"):
        tokens.add(site.house.ann if name == "ann" else site.house.bob, "use")
    first, second, bobs = (str(one.id) for one in tokens.all()[::-1])
    assert bob.post("/account/tokens/revoke", data={"token_id": first}).status_code == 404
    assert bob.post("/admin/tokens/revoke", data={"token_id": first}).status_code == 403
    assert ann.post("/account/tokens/revoke", data={"token_id": first}).status_code == 302
    assert f'data-token="{second}"' in admin.get("/admin/tokens").text
    assert admin.post("/admin/tokens/revoke", data={"token_id": second}).status_code == 302
    assert [str(one.id) for one in tokens.all()] == [bobs]


def test_no_page_and_no_answer_shows_a_token_that_is_there(site: Site) -> None:
    token = site.house.api_tokens.add(site.house.ann, "use")
    for name in ("ann", "admin"):
        visitor = site.visitor(name)
        for path in ("/account", "/admin", "/admin/tokens", "/api/user/state", "/nowhere"):
            assert token not in visitor.get(path).text
    sent = {"Authorization": f"Bearer {token}"}
    for path in ("/api/user/state", "/api/nowhere", "/api/admin/overview", "/metrics"):
        assert token not in site.visitor().get(path, **sent).text


@pytest.mark.parametrize("password", ["", "wrong", None])
def test_nobody_makes_one_without_his_password(site: Site, password: str | None) -> None:
    sent = {name: text for name, text in {**NEW, "password": password}.items() if text is not None}
    answer = site.visitor("ann").post("/account/tokens", data=sent)
    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert site.house.api_tokens.rows == {}


def test_who_has_no_password_is_asked_for_none(site: Site) -> None:
    site.house.accounts.sign_ins.passwordless.add(site.house.ann.id)
    ann = site.visitor("ann")
    assert "token-password" not in ann.get("/account").text
    sent = {name: text for name, text in NEW.items() if name != "password"}
    assert ann.post("/account/tokens", data=sent).status_code == 302
