"""A second cookie with the session's name: neither is taken, and the other is forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from manager.web.app import COOKIE_NAME
from manager.web.cookies import is_doubled
from tests.support.web import HOST, ORIGIN, Site


@pytest.mark.parametrize(
    ("line", "doubled"),
    [
        ("", False),
        ("a=1", False),
        ("s=1", False),
        ("s=1; xs=2; s2=3", False),
        ("s=1; s=2", True),
        ("s=1;s=1", True),
        ("a=1; s=; b=2;  s =x", True),
        ("s; s=1", True),
    ],
)
def test_when_a_cookie_came_twice(line: str, doubled: bool) -> None:
    assert is_doubled({"HTTP_COOKIE": line}, "s") is doubled


def test_neither_of_two_sessions_is_taken(tmp_path: Path) -> None:
    site = Site(tmp_path)
    ann, bob = site.visitor("ann"), site.visitor("bob")
    mine, other = (v.client.get_cookie(COOKIE_NAME, domain="manager.test") for v in (ann, bob))
    assert mine is not None
    assert other is not None
    for pair in ((mine.value, other.value), (other.value, mine.value)):
        line = "; ".join(f"{COOKIE_NAME}={value}" for value in pair)
        nobody = site.app.test_client(use_cookies=False)
        for path in ("/", "/api/user/state", "/admin"):
            answer = nobody.get(path, base_url=ORIGIN, headers={"Cookie": line})
            assert answer.status_code == 400
            assert "ann" not in answer.text.split() + answer.text.split('"')
        headers = {"Cookie": line, "Origin": ORIGIN, "X-CSRFToken": ann.csrf()}
        assert nobody.post("/api/user/start", base_url=ORIGIN, headers=headers).status_code == 400
    assert site.house.lifecycle.of_user(2) is None
    assert site.house.lifecycle.of_user(3) is None


def test_the_browser_is_told_to_forget_the_other_and_keeps_ours(tmp_path: Path) -> None:
    nobody = Site(tmp_path).app.test_client(use_cookies=False)
    line = f"{COOKIE_NAME}=a; {COOKIE_NAME}=b"
    page = nobody.get("/admin", base_url=ORIGIN, headers={"Cookie": line})
    assert "csrf-token" in page.text
    for cookie in page.headers.getlist("Set-Cookie"):
        assert cookie.startswith(f"{COOKIE_NAME}=;")
    answer = nobody.get("/api/user/state", base_url=ORIGIN, headers={"Cookie": line})
    told = set(answer.headers.getlist("Set-Cookie"))
    ages = "Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0;"
    assert f"{COOKIE_NAME}=; {ages} Path=/api" in told
    assert f"{COOKIE_NAME}=; {ages} Path=/api/user/state" in told
    assert f"{COOKIE_NAME}=; Domain=manager.test; {ages} Path=/" in told
    assert f"{COOKIE_NAME}=; Domain=test; {ages} Path=/api/" in told
    assert not [cookie for cookie in told if cookie.endswith("Path=/") and "Domain" not in cookie]
    assert HOST not in str(told)


def test_no_live_connection_begins_with_two_sessions(tmp_path: Path) -> None:
    site = Site(tmp_path)
    ann = site.visitor("ann")
    ann.client.set_cookie(COOKIE_NAME, "x", domain="manager.test", path="/socket.io")
    assert not ann.connect().is_connected()
    assert site.live.connections() == []
