"""Pages stay whole while they are kept true: the same nodes, focus and selection, nothing jumps."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, ViewportSize, WebSocketRoute, expect

from manager.web.app import COOKIE_NAME
from manager.web.live import OVERVIEW_DIFF_EVENT, STATE_DIFF_EVENT
from manager.web.sockets import MAX_PAGES
from tests.browser.test_whole_way import OWN, People, new_user
from tests.support import faces
from tests.support.browser import FIRST_PASSWORD
from tests.support.client import live_page
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

MOST_SHIFT = 0.02
TALL = ViewportSize(width=1200, height=1000)

AT_EASE = {"rows": "2", "COMFYUI_ARGS": "--demo-zero-boot", "BUSY_SLOWDOWN": "1"}
"""What a busy machine has pages say comes and goes, and is another matter."""

FORGET = """async () => {
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  window.__shifts.length = 0;
}"""

ONE_HOUSE = pytest.mark.parametrize("manager", [AT_EASE], indirect=True)

# Text that changes is another text node; an element that comes or goes is a flicker.
REMEMBER = """(watched) => {
  const main = document.querySelector("main");
  const elements = [...main.querySelectorAll("*")];
  window.seen = { elements, changes: 0, came: [], focus: document.activeElement };
  new MutationObserver((list) => {
    for (const one of list) {
      if (one.target.closest?.(watched)) window.seen.changes += 1;
      const nodes = [...one.addedNodes, ...one.removedNodes].filter((node) => node.outerHTML);
      window.seen.came.push(...nodes.map((node) => node.outerHTML.slice(0, 120)));
    }
  }).observe(main, { childList: true, subtree: true });
}"""
RECALL = """() => {
  const now = [...document.querySelector("main").querySelectorAll("*")];
  const before = window.seen.elements;
  return {
    came: window.seen.came,
    same: now.length === before.length && now.every((one, n) => one === before[n]),
    focused: document.activeElement === window.seen.focus,
    selected: document.getSelection().toString(),
  };
}"""


def shifted(page: Page) -> float:
    return float(sum(value for value, _ in faces.shifts(page)))


def until(page: Page, condition: Callable[[], bool], what: str) -> None:
    """Wait; what goes over a routed websocket passes through here only during a question."""
    wait_until(lambda: page.evaluate("true") and condition(), what=what)


def sees_changes(page: Page, count: int) -> None:
    page.wait_for_function("(count) => window.seen.changes >= count", arg=count)


@ONE_HOUSE
def test_what_does_not_change_stays_the_same_nodes(manager: ManagerProcess, people: People) -> None:
    admin = people()
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    ann = new_user(people, admin, "ann", manager.ports[0])
    ann.starts()
    page = ann.page
    page.get_by_text(ann.t("user.api.title")).click()
    address = page.get_by_role("textbox", name=ann.t("user.api.address"))
    address.evaluate("(field) => { field.focus(); field.setSelectionRange(3, 9); }")
    page.evaluate(REMEMBER, '[data-role="idle-text"]')
    sees_changes(page, 3)
    kept = page.evaluate(RECALL)
    assert (kept["came"], kept["same"], kept["focused"]) == ([], True, True)
    chosen = address.evaluate("(field) => [field.selectionStart, field.selectionEnd]")
    assert chosen == [3, 9]

    row = admin.page.get_by_role("row").filter(has_text="ann").first
    expect(row.get_by_text(admin.t("state.running"), exact=True)).to_be_visible()
    admin.button("admin.ports.stop", port=manager.ports[0]).focus()
    admin.page.evaluate(
        "() => document.getSelection().selectAllChildren(document.querySelector('main h1'))"
    )
    admin.page.evaluate(REMEMBER, '[data-field="idle_text"]')
    sees_changes(admin.page, 3)
    kept = admin.page.evaluate(RECALL)
    assert kept == {"came": [], "same": True, "focused": True, "selected": admin.t("admin.title")}


@pytest.mark.parametrize(
    "manager", [{**AT_EASE, "COMFYUI_ARGS": "--demo-slow-start 3"}], indirect=True
)
def test_nothing_jumps_while_an_instance_starts(manager: ManagerProcess, people: People) -> None:
    admin = people("en", viewport=TALL)
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    state = admin.context.storage_state()
    for language, size in (("en", TALL), ("zh_CN", faces.PHONE)):
        person = people(language, viewport=size, storage_state=state)
        faces.watch_shifts(person.page)
        person.goes("/")
        person.headline("user.headline.idle")
        # The first time; then with what was left of the last.
        person.page.get_by_role("button", name=person.t("user.start")).click()
        person.headline("user.headline.starting")
        # What the click itself moves counts for nothing, also where it is painted late.
        person.page.evaluate(FORGET)
        person.headline("user.headline.running")
        bar = person.page.get_by_role("progressbar", name=person.t("user.idle.bar"))
        expect(bar).to_be_visible()
        assert shifted(person.page) <= MOST_SHIFT, faces.shifts(person.page)
        person.stops()
        person.headline("user.headline.idle")
        person.has_no_complaints()


@ONE_HOUSE
def test_a_page_that_missed_something_is_whole_again(
    manager: ManagerProcess, people: People
) -> None:
    admin = people()
    opened: list[WebSocketRoute] = []
    dropped: list[str] = []
    to_drop = [STATE_DIFF_EVENT]

    def pass_on(browser: WebSocketRoute) -> None:
        opened.append(browser)
        server = browser.connect_to_server()

        def hear(message: str | bytes) -> None:
            lost = next((one for one in to_drop if f'["{one}",' in str(message)), None)
            if lost is None:
                browser.send(message)
            else:
                to_drop.remove(lost)
                dropped.append(str(message))

        server.on_message(hear)

    admin.page.route_web_socket("**/socket.io/**", pass_on)
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.page.wait_for_load_state("networkidle")
    assert len(opened) == 1, "one connection for a page, whatever is on it"
    admin.starts()
    # What was dropped is told by nothing later: only the whole says it.
    until(admin.page, lambda: len(opened) == 2, "the page comes anew")
    expect(admin.page.get_by_text(admin.t("common.reconnecting"))).to_be_hidden()
    admin.stops()
    admin.headline("user.headline.idle")
    to_drop.append(OVERVIEW_DIFF_EVENT)
    admin.goes("/admin")
    until(admin.page, lambda: len(opened) == 4, "the admins' page comes anew, too")
    admin.has_no_complaints()
    assert [message.split('"')[1] for message in dropped] == [STATE_DIFF_EVENT, OVERVIEW_DIFF_EVENT]


@ONE_HOUSE
def test_a_page_too_many_says_so_and_comes_back_when_there_is_room(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = people(language)
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    cookies = {one["name"]: one["value"] for one in admin.context.cookies()}
    admin.page.goto("about:blank")
    others = [live_page(manager, cookies[COOKIE_NAME]) for _ in range(MAX_PAGES)]
    assert all(str(other.recv()).startswith(("40", "42")) for other in others)
    admin.page.clock.install()
    admin.goes()
    admin.sees("common.too_many_pages")
    expect(admin.page.get_by_text(admin.t("common.reconnecting"))).to_be_hidden()
    admin.headline("user.headline.idle")
    for other in others:
        other.close()
    admin.page.clock.fast_forward(15_000)
    expect(admin.page.get_by_text(admin.t("common.too_many_pages"))).to_be_hidden()
    admin.starts()
    admin.has_no_complaints()
