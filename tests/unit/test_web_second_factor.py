"""The second step of a login and the page of second factors, for every kind of visitor."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from manager.errors import TooManyAttempts
from manager.states import State
from tests.support.routes import NO_TOKEN, ROUTES
from tests.support.second_factor import CODE, RECOVERY, SECRET
from tests.support.web import ORIGIN, PASSWORD, TOKEN, Site, Visitor

PAGE = "/account/second-factor"
SETTING_UP = {
    ("GET", PAGE): 200,
    ("POST", f"{PAGE}/begin"): 401,
    ("POST", f"{PAGE}/cancel"): 302,
    ("POST", f"{PAGE}/confirm"): 404,
}
"""What an admin may do who must set it up, beside what one may who must change his password."""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    return site


def has_one(site: Site, user_id: int) -> None:
    found = site.house.accounts.all[user_id]
    site.house.accounts.all[user_id] = dataclasses.replace(found, second_factor=True)


def half_way(site: Site, username: str = "ann") -> Visitor:
    """Give somebody whose password was right and who has shown no code yet."""
    has_one(site, 1 if username == "admin" else 2)
    visitor = site.visitor()
    answer = visitor.log_in(username)
    assert (answer.status_code, answer.location) == (302, "/login/code")
    return visitor


def kept(visitor: Visitor) -> set[str]:
    with visitor.client.session_transaction(base_url=ORIGIN) as session:
        return set(session)


def asks(visitor: Visitor, method: str, path: str, body: object) -> int:
    if method == "GET":
        return visitor.get(path).status_code
    return visitor.send(method, path, json=body).status_code


@pytest.mark.parametrize("username", ["ann", "admin"])
def test_half_way_is_nobody(site: Site, username: str) -> None:
    visitor = half_way(site, username)
    for method, path, body, nobody, *_ in ROUTES:
        if path in {"/login/code", "/logout"}:
            continue
        assert asks(visitor, method, path, body) == nobody, (method, path)
    assert site.house.accounts.sessions == {}
    assert not visitor.connect().is_connected()
    page = visitor.get("/login/code")
    assert page.status_code == 200
    for secret in (TOKEN, "sid-", username):
        assert secret not in page.text


def test_the_code_opens_a_new_session(site: Site) -> None:
    visitor = half_way(site)
    assert "sid" not in kept(visitor)
    before = visitor.csrf()
    wrong = visitor.post("/login/code", data={"code": "000000"})
    assert wrong.status_code == 401
    assert "This code is not right" in wrong.text
    answer = visitor.post("/login/code", data={"code": CODE})
    assert (answer.status_code, answer.location) == (302, "/")
    assert kept(visitor) <= {"sid", "_permanent", "csrf_token"}
    assert visitor.get("/").status_code == 200
    refused = visitor.post("/api/user/stop", csrf=False, headers={"X-CSRFToken": before})
    assert refused.status_code == 400
    assert visitor.get("/login/code").location == "/login"


def test_a_new_try_ends_the_login_of_before(site: Site) -> None:
    visitor = site.visitor("bob")
    has_one(site, 2)
    visitor.log_in("ann")
    assert site.house.accounts.sessions == {}
    assert visitor.get("/").location == "/login"


def test_a_ticket_is_nothing_to_another_browser_and_ends(site: Site) -> None:
    visitor, other = half_way(site), site.visitor()
    assert other.post("/login/code", data={"code": CODE}).location == "/login"
    site.house.accounts.second_factor.tickets.clear()
    for answer in (visitor.get("/login/code"), other.get("/login/code")):
        assert answer.status_code in {401, 302}
    again = half_way(site)
    site.house.accounts.second_factor.tickets.clear()
    late = again.post("/login/code", data={"code": CODE})
    assert late.status_code == 401
    assert "That took too long" in late.text
    assert 'name="password"' in late.text
    assert kept(again) <= {"csrf_token"}


def test_the_language_is_switched_on_the_way(site: Site) -> None:
    visitor = half_way(site)
    answer = visitor.post("/language", data={"language": "zh_CN", "next": "/login/code"})
    assert answer.location == "/login/code"
    assert "输入验证码" in visitor.get("/login/code").text


def test_it_is_set_up_seen_once_and_taken_off(site: Site) -> None:
    ann = site.visitor("ann")
    assert ann.post(f"{PAGE}/begin", data={"password": "wrong"}).status_code == 401
    assert SECRET not in ann.get(PAGE).text
    assert ann.post(f"{PAGE}/begin", data={"password": PASSWORD}).location == PAGE
    page = ann.get(PAGE)
    assert SECRET in page.text
    assert "data:image/svg+xml" in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert SECRET not in site.visitor("ann").get(PAGE).text, "another login of his"
    wrong = ann.post(f"{PAGE}/confirm", data={"code": "000000"})
    assert wrong.status_code == 400
    assert SECRET in wrong.text
    assert ann.post(f"{PAGE}/confirm", data={"code": CODE}).location == PAGE
    assert RECOVERY not in site.visitor("bob").get(PAGE).text
    assert ann.client.head(PAGE, base_url=ORIGIN).status_code == 200
    shown = ann.get(PAGE).text
    assert shown.count(RECOVERY) == 20, "to read, and as a file"
    again = ann.get(PAGE).text
    assert RECOVERY not in again
    assert SECRET not in again
    assert "Recovery codes left: 10." in ann.get("/account").text
    both = {"password": PASSWORD, "code": CODE}
    for act in ("codes", "off"):
        refused = ann.post(f"{PAGE}/{act}", data=both | {"code": "000000"})
        assert refused.status_code == 401
        assert refused.text.count("This code is not right") == 1
    assert ann.post(f"{PAGE}/codes", data=both).location == PAGE
    assert RECOVERY in ann.get(PAGE).text
    assert ann.post(f"{PAGE}/off", data=both).location == "/account#second-factor"
    assert not site.house.accounts.all[2].second_factor


def test_an_admin_who_must_set_it_up_may_do_that_alone(site: Site) -> None:
    site.house.accounts.second_factor_required = True
    for method, path, body, *_, must_change in ROUTES:
        visitor = site.visitor("admin")
        wanted = SETTING_UP.get((method, path), must_change)
        assert asks(visitor, method, path, body) == wanted, (method, path)
    visitor = site.visitor("admin")
    assert visitor.get("/admin").location == PAGE
    assert visitor.get("/api/user/state").get_json()["error"]["code"] == "second_factor_required"
    assert not visitor.connect().is_connected()
    assert "Administrators of this server" in visitor.get(PAGE).text
    visitor.post(f"{PAGE}/begin", data={"password": PASSWORD})
    visitor.post(f"{PAGE}/confirm", data={"code": CODE})
    assert RECOVERY in visitor.get(PAGE).text
    assert visitor.get("/admin").status_code == 200
    assert visitor.connect().is_connected()


def test_users_need_none_where_admins_do(site: Site) -> None:
    site.house.accounts.second_factor_required = True
    assert site.visitor("ann").get("/").status_code == 200


def test_where_everybody_must_a_user_may_do_that_alone(site: Site) -> None:
    ann = site.visitor("ann")
    token = site.house.api_tokens.add(site.house.ann, "use")
    site.house.accounts.second_factor_of_all = True
    assert ann.get("/").location == PAGE
    assert ann.get("/api/user/state").get_json()["error"]["code"] == "second_factor_required"
    assert ann.send("POST", "/api/user/start").status_code == 403
    assert not ann.connect().is_connected()
    ann.post(f"{PAGE}/begin", data={"password": PASSWORD})
    ann.post(f"{PAGE}/confirm", data={"code": CODE})
    assert ann.get("/").status_code == 200
    script = site.visitor(None, Authorization=f"Bearer {token}")
    assert script.get("/api/user/state").status_code == 200


def test_the_page_says_of_whom_it_is_wanted(tmp_path: Path) -> None:
    site = Site(tmp_path, SECOND_FACTOR="required")
    site.house.accounts.second_factor_of_all = True
    assert "Everybody on this server" in site.visitor("ann").get(PAGE).text


def test_an_open_page_ends_when_its_reader_must_set_it_up(site: Site) -> None:
    client = site.visitor("admin").connect()
    site.house.accounts.second_factor_required = True
    site.live.accounts_changed()
    site.live.push(10.0)
    assert not client.is_connected()


def test_a_token_asks_for_no_code_and_makes_no_admin(site: Site) -> None:
    has_one(site, 2)
    tokens = site.house.api_tokens
    anns = {"Authorization": f"Bearer {tokens.add(site.house.ann, 'use')}"}
    assert site.visitor(None, **anns).get("/api/user/state").status_code == 200
    admins = {"Authorization": f"Bearer {tokens.add(site.house.admin, 'admin')}"}
    assert site.visitor(None, **admins).get("/api/admin/overview").status_code == 200
    site.house.accounts.second_factor_required = True
    bearer = site.visitor(None, **admins)
    assert bearer.get("/api/user/state").status_code == 200
    assert bearer.get("/api/admin/overview").status_code == 403


def test_an_admin_resets_anothers_and_not_his_own(site: Site) -> None:
    admin, path = site.visitor("admin"), "/api/admin/users/2/second-factor"
    assert admin.send("DELETE", path).get_json()["error"]["key"] == "conflict.second_factor_none"
    has_one(site, 2)
    has_one(site, 1)
    answer = admin.send("DELETE", path)
    assert (answer.status_code, answer.get_json()["user"]["second_factor"]) == (200, False)
    own = admin.send("DELETE", "/api/admin/users/1/second-factor")
    assert own.get_json()["error"]["key"] == "conflict.yourself"
    assert site.house.accounts.second_factor.resets == [("admin", 2)]
    assert ("DELETE", "/api/admin/users/3/second-factor") in NO_TOKEN


def test_a_long_wait_is_not_said_in_seconds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(ticket: str, given: str) -> None:
        raise TooManyAttempts("no", retry_after=3500)

    visitor = half_way(site)
    monkeypatch.setattr(site.house.accounts.second_factor, "answer", refuse)
    answer = visitor.post("/login/code", data={"code": CODE})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "3500")
    assert "Try again in 59 min." in answer.text
    assert "data-wait=" not in answer.text
