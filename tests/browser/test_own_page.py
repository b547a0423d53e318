"""The user's own page from a start to its stop, in both languages, on one manager."""

from __future__ import annotations

import re
import sqlite3
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_whole_way import GIVEN, OWN, People
from tests.support.browser import FIRST_PASSWORD, Person
from tests.support.server import ManagerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

ONE_CARD = pytest.mark.parametrize(
    "manager", [{"rows": "1", "COMFYUI_ARGS": "--demo-slow-start 6"}], indirect=True
)
TOOK = (26.0, 31.0, 39.0)
MANY_LINES = 4000


def remember_starts(manager: ManagerProcess, username: str) -> None:
    """Write earlier starts into the record of use, as a longer life would have."""
    path = manager.folder / "comfyui_manager.db"
    with sqlite3.connect(path, timeout=30) as connection:
        (user_id,) = connection.execute(
            "SELECT id FROM users WHERE username = ?", (username,)
        ).fetchone()
        for number, took in enumerate(TOOK, 1):
            at = time.time() - 86_400 * number
            connection.execute(
                "INSERT INTO usage (launch_id, user_id, username, port, card, started_at, "
                "ready_at, ended_at, end_reason) VALUES (?, ?, ?, ?, 1, ?, ?, ?, 'user')",
                (
                    *(f"{username}-{number}", user_id, username, manager.ports[0]),
                    *(at, at + took, at + 600),
                ),
            )
    connection.close()


def complaints_of_own_pages(person: Person) -> list[str]:
    """Hear the consoles of all tabs, as far as they show pages of ours."""
    heard: list[str] = []

    def hear(message: Any) -> None:
        own = str(message.location.get("url", "")).startswith(person.manager.url)
        if own and message.type in {"error", "warning"}:
            heard.append(message.text)

    person.context.on("console", hear)
    return heard


def starts_and_is_led_there(person: Person) -> None:
    person.page.get_by_label(person.t("user.open_soon.tick")).check()
    with person.context.expect_page() as opened:
        person.page.get_by_role("button", name=re.compile(person.t("user.start"))).click()
    tab = opened.value
    usual = person.t("user.starting.usual.seconds", low=25, high=40)
    expect(tab.get_by_role("heading", level=1)).to_have_text(
        person.t("user.open_soon.headline.starting")
    )
    expect(tab.get_by_text(usual)).to_be_visible()
    assert tab.evaluate("[window.opener, window.name]") == [None, ""]
    expect(tab.get_by_role("list", name=person.t("user.stages"))).to_be_visible()
    person.headline("user.headline.starting")
    expect(person.page.get_by_text(usual)).to_be_visible()
    person.sees("user.open_soon.beside")
    # Nobody touches the tab: it goes there by itself.
    expect(tab).to_have_url(f"http://127.0.0.1:{person.manager.workspace_ports[0]}/")
    expect(tab.get_by_text("ComfyUI").first).to_be_visible()
    assert tab.evaluate("[window.opener, document.referrer, history.length]") == [None, "", 1]
    person.headline("user.headline.running")
    expect(person.page.get_by_text(person.t("user.open_soon.beside"))).to_be_hidden()
    link = person.link("user.open").get_attribute("href") or ""
    token = link.split("=")[1]
    assert len(token) == 32
    for log in (person.manager.log_path, person.manager.output_path):
        assert token not in log.read_text(encoding="utf-8")
    tab.close()


def searches_the_log(person: Person) -> None:
    page = person.page
    page.get_by_text(person.t("user.log.title"), exact=True).click()
    log = page.get_by_label(person.t("user.log.title"))
    expect(log).to_contain_text("Demo")
    search = page.get_by_role("searchbox", name=person.t("common.log.search"))
    search.fill("demo")
    marks = log.locator("mark")
    expect(marks.first).to_be_attached()
    total = marks.count()
    current = log.locator("mark[data-current]")
    count = page.locator('[data-role="log-count"]')
    person.button("common.log.next").click()
    search.press("Enter")
    expect(current).to_have_count(1)
    before = count.text_content()
    search.press("Shift+Enter")
    search.press("Enter")
    expect(count).to_have_text(before or "?")
    assert str(total) in (before or "")
    page.get_by_label(person.t("common.log.only")).check()
    expect(log.locator(".log-line:visible")).to_have_count(
        log.locator(".log-line", has=page.locator("mark")).count()
    )
    search.fill("nowhere at all")
    expect(count).to_have_text(person.t("common.log.none"))
    search.press("Escape")
    expect(search).to_have_value("")
    expect(marks).to_have_count(0)
    page.get_by_label(person.t("common.log.only")).uncheck()
    person.button("common.log.copy").click()
    expect(page.locator('[data-role="log-told"]')).to_have_text(person.t("common.log.copied"))
    with page.expect_download() as saved:
        person.link("common.log.download").click()
    assert saved.value.suggested_filename == "comfyui.log.txt"
    assert "Demo" in saved.value.path().read_text(encoding="utf-8")


def leaves_the_line_and_takes_it_back(person: Person) -> None:
    person.headline("user.headline.full")
    person.button("user.line.join").click()
    person.headline("user.headline.waiting")
    person.button("user.line.leave").click()
    person.headline("user.headline.full")
    expect(person.button("user.line.take_back")).to_be_focused()
    person.page.keyboard.press("Enter")
    person.headline("user.headline.waiting")
    expect(person.button("user.line.take_back")).to_be_hidden()
    person.button("user.line.leave").click()
    person.headline("user.headline.full")


def knows_what_files_take(person: Person) -> None:
    panel = person.page.get_by_role("region", name=person.t("user.disk.title"))
    expect(panel.get_by_text(person.t("user.disk.folder.output"))).to_be_visible()
    total = person.t("user.disk.total", total="(.+)")
    expect(panel.get_by_text(re.compile(f"^{total}$"))).to_be_visible()


@ONE_CARD
def test_own_page_from_start_to_stop_in_both_languages(
    manager: ManagerProcess, people: People
) -> None:
    admin = people("en")
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.goes("/admin")
    everybody = []
    for name, language in (("ann", "en"), ("lin", "zh_CN")):
        admin.creates_user(name, GIVEN)
        remember_starts(manager, name)
        person = people(language)
        person.comes_in(name, GIVEN, OWN)
        everybody.append(person)
    heard = [complaints_of_own_pages(person) for person in everybody]
    ann, lin = everybody
    for one, other in ((ann, lin), (lin, ann)):
        starts_and_is_led_there(one)
        leaves_the_line_and_takes_it_back(other)
        searches_the_log(one)
        one.goes("/")
        expect(one.page.locator('[data-role="open-soon-on"]')).to_be_checked()
        knows_what_files_take(one)
        one.has_no_sideways_scrolling()
        one.stops()
        one.sees("user.end.user")
    row = admin.page.get_by_role("row").filter(has_text="ann")
    expect(row.locator('[data-field="disk_total"]')).to_contain_text("KiB")
    assert heard == [[], []]
    a_long_log_stays_fluent(ann)
    for person in (admin, *everybody):
        person.has_no_complaints()


def a_long_log_stays_fluent(person: Person) -> None:
    """A log that others wrote, long and full of what looks like markup, in pieces."""
    lines = [f"line {number} <img src=x onerror=alert(1)>" for number in range(MANY_LINES)]
    texts = iter(["\n".join(lines[:-10]) + "\n", "\n".join(lines[5:]) + "\n"])
    shown = {"log": next(texts), "tag": "1"}
    person.page.route("**/api/user/log?*", lambda route: route.fulfill(json=shown))
    person.goes("/")
    person.page.get_by_text(person.t("user.log.title"), exact=True).click()
    log = person.page.get_by_label(person.t("user.log.title"))
    log.scroll_into_view_if_needed()
    expect(log.get_by_text(lines[-11], exact=True)).to_be_in_viewport()
    search = person.page.get_by_role("searchbox", name=person.t("common.log.search"))
    search.fill("e")
    most = person.t("common.log.count_more", at=".+", count=2000)
    expect(person.page.locator('[data-role="log-count"]')).to_have_text(re.compile(most))
    search.fill("line 42 ")
    expect(log.locator("mark")).to_have_count(1)
    expect(log.locator("mark")).to_be_in_viewport()
    follow = person.page.get_by_label(person.t("common.log.follow"))
    expect(follow).not_to_be_checked()
    # What scrolled out at the server stays here, and what is new is added once.
    shown.update(log=next(texts), tag="2")
    expect(log.get_by_text(lines[-1], exact=True)).to_be_attached()
    expect(log.locator(".log-line")).to_have_count(MANY_LINES + 1)
    expect(log.locator("mark")).to_be_in_viewport()
    follow.check()
    expect(log.get_by_text(lines[-1], exact=True)).to_be_in_viewport()
    _no_markup_came_alive(person.page)


def _no_markup_came_alive(page: Page) -> None:
    assert page.locator('[data-role="log"] img').count() == 0
