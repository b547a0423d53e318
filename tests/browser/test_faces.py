"""Every page: nothing for axe-core to find, nothing that jumps, not too heavy.

The faces of the user's page, and the dialogs: ``test_every_state``.
"""

from __future__ import annotations

import pytest

from tests.browser.test_whole_way import OWN, People
from tests.support import faces
from tests.support.browser import FIRST_PASSWORD, Person
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

MOST_BYTES = 120 * 1024
MOST_REQUESTS = 8
MOST_REQUESTS_AGAIN = 4
"""Of a page whose files the browser has kept."""

ONE_CARD = pytest.mark.parametrize(
    "manager", [{"rows": "1", "COMFYUI_ARGS": "--demo-zero-boot"}], indirect=True
)


class Looker:
    """Keeps what axe-core finds, by what was looked at."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def look(self, person: Person, what: str) -> None:
        for one in faces.findings(person.page):
            self.found.setdefault(what, []).append(one)


@ONE_CARD
def test_axe_finds_nothing_on_any_page(
    manager: ManagerProcess, people: People, language: str
) -> None:
    looker = Looker()
    admin = people(language)
    admin.goes("/login")
    looker.look(admin, "login")
    admin.log_in("admin", "wrong")
    admin.sees("login.refused")
    looker.look(admin, "login refused")
    admin.log_in("admin", FIRST_PASSWORD)
    admin.headline("password.forced_title")
    looker.look(admin, "first password")
    admin.sets_own_password(FIRST_PASSWORD, OWN)
    admin.headline("user.headline.idle")
    looker.look(admin, "idle")
    for path in ("/account", "/password", "/nowhere"):
        admin.goes(path)
        looker.look(admin, path)
    admin.goes("/admin")
    admin.page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    looker.look(admin, "admin")
    admin.button("admin.users.create").click()
    looker.look(admin, "admin creates a user")
    assert looker.found == {}


@ONE_CARD
def test_pages_are_light_and_nothing_in_them_jumps(manager: ManagerProcess, people: People) -> None:
    admin = people("zh_CN")
    faces.watch_shifts(admin.page)
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.headline("user.headline.idle")
    state = admin.context.storage_state()
    for path, ready in (("/login", None), ("/", "user.headline.idle"), ("/admin", None)):
        fresh = people("zh_CN", storage_state=None if path == "/login" else state)
        faces.watch_shifts(fresh.page)
        traffic = faces.count_traffic(fresh.page)
        fresh.goes(path)
        if ready:
            fresh.headline(ready)
        fresh.page.wait_for_load_state("networkidle")
        first = traffic.taken()
        assert 0 < first.compressed_bytes < MOST_BYTES, first
        assert len(first.sent()) <= MOST_REQUESTS, first
        assert faces.shifts(fresh.page) == [], path
        fresh.goes(path)
        fresh.page.wait_for_load_state("networkidle")
        again = traffic.taken()
        assert len(again.sent()) <= MOST_REQUESTS_AGAIN, again
        assert again.compressed_bytes < first.compressed_bytes / 2, (again, first)


@ONE_CARD
def test_nothing_is_painted_before_the_times_are_in_the_readers_zone(
    manager: ManagerProcess, people: People
) -> None:
    admin = people("en", timezone_id="Asia/Shanghai")
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    faces.watch_shifts(admin.page)
    faces.delay_scripts(admin.page)
    admin.goes("/admin")
    admin.page.wait_for_load_state("networkidle")
    assert faces.painted_after_scripts(admin.page)
    assert faces.shifts(admin.page) == []
