"""A page in a workspace against the manager's pages and other workspaces, in a real Chromium.

The visitor is an admin: logged in, with an own workspace open, in the same browser; so whatever the
page can make that browser send carries an admin's cookies. The table of what was tried stands in
``docs/security.md``, and is printed here (``pytest -s``).
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import FIRST_PASSWORD, Person
from tests.support.hostile_page import ATTEMPTS, EVICT, SHADOW, script
from tests.support.server import ROOT, ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

NODE = shlex.quote(str(ROOT / "tests" / "support" / "no_policy"))
OWN, GIVEN = "a password of my own", "given by the admin"
HOSTILE = {
    "COMFYUI_ARGS": f"--demo-zero-boot --demo-custom-node {NODE}",
    "ISOLATION": "directories",
    "LANDLOCK": "off",
}
People = Callable[..., Person]


@pytest.fixture
def scene(manager: ManagerProcess, people: People) -> tuple[Person, Page, Page]:
    """An admin with an own workspace, who opens the workspace of a hostile user."""
    admin = people()
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.goes("/admin")
    admin.creates_user("eve", GIVEN, manager.ports[1])
    eve = people()
    eve.comes_in("eve", GIVEN, OWN)
    eve.starts()
    link = eve.link("user.open").get_attribute("href")
    assert link is not None
    admin.goes("/")
    admin.starts()
    own = admin.opens_workspace()
    expect(own).to_have_url(f"http://127.0.0.1:{manager.workspace_ports[0]}/")
    own.evaluate("localStorage.setItem('secret', 'of the admin')")
    hostile = admin.context.new_page()
    hostile.goto(link)
    expect(hostile).to_have_url(f"http://127.0.0.1:{manager.workspace_ports[1]}/")
    answer = hostile.request.get(hostile.url)
    assert "content-security-policy" not in answer.headers, "its own would stop it, not we"
    return admin, own, hostile


def rows_of_the_table() -> dict[str, str]:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    part = text.partition("| a script in a workspace's page tries to |")[2].partition("\n\n")[0]
    cells = [line.strip("|").split("|") for line in part.splitlines()[2:]]
    return {cell[0].strip(): cell[1].strip() for cell in cells}


def fails_at_others(manager: ManagerProcess, scene: tuple[Person, Page, Page]) -> None:
    admin, own, hostile = scene
    state = admin.context.request.get(f"{manager.url}/api/admin/overview").json()
    names = [f"{kind}_{port}" for kind in ("token", "owner") for port in manager.ports]
    outcomes: dict[str, bool] = {}
    for attempt in ATTEMPTS:
        body = script(
            attempt,
            manager=manager.url,
            other=f"http://127.0.0.1:{manager.workspace_ports[0]}",
            names=names,
            user=state["users"][-1]["id"],
        )
        got, why = hostile.evaluate(body)
        # A page cannot tell a frame that shows another origin from one that was refused.
        framed = [frame.url for frame in hostile.frames if frame.url.startswith(manager.url)]
        outcomes[attempt] = got or bool(framed)
        sys.stdout.write(f"{'○' if outcomes[attempt] else '●'} {attempt}  {why[:90]}\n")
    assert [attempt for attempt, got in outcomes.items() if got] == []
    after = admin.context.request.get(f"{manager.url}/api/admin/overview").json()
    assert _accounts(after) == _accounts(state)
    held = [(row["port"], row["state"], row["username"]) for row in after["ports"]]
    assert held == [(row["port"], row["state"], row["username"]) for row in state["ports"]]
    assert own.evaluate("fetch('/history').then((answer) => answer.json())") == {}
    assert own.evaluate("localStorage.getItem('secret')") == "of the admin"
    assert own.url == f"http://127.0.0.1:{manager.workspace_ports[0]}/"
    assert rows_of_the_table() == dict.fromkeys(ATTEMPTS, "●")


def succeeds_at_home(manager: ManagerProcess, hostile: Page) -> None:
    home = f"http://127.0.0.1:{manager.workspace_ports[1]}"
    hostile.evaluate("localStorage.setItem('secret', 'of its own')")
    for attempt in (
        "read another workspace with fetch",
        "listen to another workspace's websocket",
        "reach into a window of another workspace",
        "see the storage and messages of another workspace",
        "have another workspace work",
    ):
        body = script(attempt, manager=manager.url, other=home, names=[], user=0)
        got, why = hostile.evaluate(body)
        assert got or attempt == "have another workspace work", (attempt, why)
    assert hostile.evaluate("fetch('/prompt').then((answer) => answer.status)") == 200
    wait_until(
        lambda: hostile.evaluate("fetch('/history').then((answer) => answer.json())") != {},
        20,
        "its own workspace has worked",
    )
    hostile.evaluate("localStorage.removeItem('secret')")


def disturbs_a_login(manager: ManagerProcess, admin: Person, hostile: Page) -> None:
    hostile.evaluate(SHADOW)
    admin.goes("/admin")
    admin.sees("error.bad_input.cookie_twice")
    admin.goes("/admin")
    expect(admin.page.get_by_role("heading", level=1)).to_be_visible()
    expect(admin.page).to_have_url(f"{manager.url}/admin")
    assert admin.context.request.get(f"{manager.url}/api/admin/overview").ok
    hostile.evaluate(EVICT)
    admin.goes("/admin")
    expect(admin.page).to_have_url(f"{manager.url}/login")


def _accounts(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the users without what changes by itself: how much their files take."""
    return [{**one, "disk_total": None} for one in state["users"]]


@pytest.mark.parametrize("manager", [HOSTILE], indirect=True)
def test_nothing_a_page_tries_succeeds_but_to_disturb_a_login(
    manager: ManagerProcess, scene: tuple[Person, Page, Page]
) -> None:
    admin, _, hostile = scene
    # What is no proof of anything if it fails everywhere is first seen to succeed.
    succeeds_at_home(manager, hostile)
    fails_at_others(manager, scene)
    disturbs_a_login(manager, admin, hostile)
