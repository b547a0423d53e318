"""A token for scripts: made and seen once on the account page, used, and revoked."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect

from tests.browser.test_whole_way import OWN, People, first_admin, new_user
from tests.support import faces
from tests.support.browser import Person
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

QUICK = pytest.mark.parametrize(
    "manager", [{"rows": "1", "COMFYUI_ARGS": "--demo-zero-boot"}], indirect=True
)
TOKEN = re.compile(r"cmm_[A-Za-z0-9]{43}")
WAIT_S = 30


def makes(person: Person, name: str, scope: str) -> str:
    """Make a token on the account page and give it."""
    person.goes("/account")
    person.page.get_by_text(person.t("token.new"), exact=True).click()
    person.field("token.name").fill(name)
    person.page.get_by_role("radio", name=person.t(f"token.scope.{scope}"), exact=True).check()
    person.field("factor.password").fill(OWN)
    person.button("token.make").click()
    token = person.field("token.itself").input_value()
    assert TOKEN.fullmatch(token)
    return token


def revokes(person: Person, name: str) -> None:
    """Revoke a token on the page that is open."""
    person.button("token.revoke_of", name=name).click()
    expect(person.button("token.revoke_of", name=name)).to_have_count(0)


def looks_right(person: Person, what: str) -> None:
    """Expect nothing for axe-core to find, and room on a phone."""
    assert faces.findings(person.page) == [], what
    desk = person.page.viewport_size
    person.page.set_viewport_size(faces.PHONE)
    person.has_no_sideways_scrolling()
    if desk is not None:
        person.page.set_viewport_size(desk)


class Script:
    """A program with a token and nothing else."""

    def __init__(self, manager: ManagerProcess, token: str) -> None:
        self.url = manager.url
        self.headers = {"Authorization": f"Bearer {token}"}

    def asks(self, method: str, path: str, **sent: Any) -> tuple[int, Any]:
        """Send a request as a script does: no cookie, no Origin, no CSRF token."""
        answer = requests.request(
            method, self.url + path, headers=self.headers, timeout=WAIT_S, **sent
        )
        assert "Set-Cookie" not in answer.headers
        return answer.status_code, answer.json()


@QUICK
def test_a_token_is_made_seen_once_used_and_revoked(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    ann = new_user(people, admin, "ann")
    reading = Script(manager, makes(ann, "looks", "read"))
    ann.goes("/account")
    token = makes(ann, "nightly", "use")
    copied(ann.page, ann, token)
    looks_right(ann, "made")
    ann.page.reload()
    ann.goes("/account")
    assert token not in ann.page.content()
    looks_right(ann, "listed")

    using = Script(manager, token)
    assert using.asks("GET", "/api/user/state")[1]["phase"] == "idle"
    assert reading.asks("POST", "/api/user/start")[0] == 403
    assert using.asks("POST", "/api/user/start")[0] == 202
    # The page of the same user knows of it at once.
    ann.goes("/")
    ann.headline("user.headline.running")
    assert using.asks("POST", "/api/user/stop")[0] == 202
    assert using.asks("GET", "/api/admin/overview")[0] == 403
    refused, error = using.asks("POST", "/api/user/password", json={})
    assert (refused, error["error"]["key"]) == (403, "not_permitted.token_never")

    ann.goes("/account")
    revokes(ann, "nightly")
    assert using.asks("GET", "/api/user/state")[0] == 401
    admin.goes("/admin/tokens")
    looks_right(admin, "everybody's")
    admin.button("tokens.revoke_of", name="looks", username="ann").click()
    admin.sees("tokens.none")
    assert reading.asks("GET", "/api/user/state")[0] == 401
    for secret in (token, reading.headers["Authorization"].partition(" ")[2]):
        assert secret not in manager.log_path.read_text(encoding="utf-8")
    ann.has_no_complaints()
    admin.has_no_complaints()


@QUICK
def test_tokens_end_with_the_password(manager: ManagerProcess, people: People) -> None:
    admin = first_admin(people, "en")
    script = Script(manager, makes(admin, "all", "admin"))
    assert script.asks("GET", "/api/admin/overview")[0] == 200
    admin.goes("/password")
    admin.field("password.old").fill(OWN)
    admin.field("password.new").fill("quite another password")
    admin.field("password.repeat").fill("quite another password")
    admin.button("password.submit").click()
    expect(admin.page).to_have_url(f"{manager.url}/")
    assert script.asks("GET", "/api/admin/overview")[0] == 401
    admin.goes("/account")
    expect(admin.page.locator("[data-token]")).to_have_count(0)


def copied(page: Page, person: Person, token: str) -> None:
    """Copy it as the page offers, and read the clipboard."""
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    person.button("token.copy").click()
    person.sees("common.copied")
    assert page.evaluate("navigator.clipboard.readText()") == token
