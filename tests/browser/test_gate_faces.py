"""The gate's own pages as people meet them: in their language, with a way back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from manager.gate.gate import new_token
from manager.ports import PortRow
from manager.web import i18n
from tests.browser.test_whole_way import People, first_admin
from tests.support import faces
from tests.support.browser import LOCALES, WAIT_MS
from tests.support.gate import opening, project, running_gate
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

TOKEN = new_token()
DARK_GROUND = "rgb(17, 19, 26)"
REFUSED = ("status of 403", "status of 502")


@dataclass
class Doors:
    """A closed gate, and an open one with nobody behind it."""

    closed: PortRow
    silent: PortRow

    def address(self, kind: str) -> str:
        row = self.silent if kind == "silent" else self.closed
        query = f"?token_{row.port}=old" if kind == "denied" else ""
        return f"http://127.0.0.1:{row.workspace_port}/{query}"

    def cookies(self, kind: str) -> list[tuple[str, str]]:
        if kind == "silent":
            return [(f"token_{self.silent.port}", TOKEN)]
        return [(f"token_{self.closed.port}", "once")] if kind == "ended" else []


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    of = project(tmp_path_factory.mktemp("doors"), rows=2)
    found = Doors(*of.ports)
    with running_gate(of) as gate:
        gate.apply({found.silent.port: opening(found.silent.port, TOKEN)})
        yield found


def visit(browser: Browser, doors: Doors, kind: str, language: str) -> Page:
    context = browser.new_context(locale=LOCALES[language], viewport=faces.PHONE)
    context.set_default_timeout(WAIT_MS)
    url = doors.address(kind)
    for name, value in doors.cookies(kind):
        context.add_cookies([{"name": name, "value": value, "url": url}])
    page = context.new_page()
    page.goto(url)
    return page


def let_stay(route: Route) -> None:
    """Take away what has a page load itself again while it is looked at."""
    answer = route.fetch()
    headers = {name: value for name, value in answer.headers.items() if name != "refresh"}
    route.fulfill(response=answer, headers=headers)


@pytest.mark.parametrize("kind", ["closed", "denied", "ended", "silent"])
def test_each_page_is_whole_in_both_languages(
    browser: Browser, doors: Doors, kind: str, language: str
) -> None:
    page = visit(browser, doors, kind, language)
    page.route("**/*", let_stay)
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.reload()
    title = i18n.translate(language, f"gate.{kind}.title")
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    assert page.locator("img").evaluate("image => image.naturalWidth") > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= faces.PHONE["width"]
    back = page.get_by_role("link", name=i18n.translate(language, "gate.back"))
    expect(back).to_have_attribute("href", "//127.0.0.1:8880/")
    page.keyboard.press("Tab")
    expect(back).to_be_focused()
    assert faces.findings(page) == []
    # The style is let through by its hash alone.
    expect(page.locator("body")).to_have_css("background-color", DARK_GROUND)
    assert [text for text in complaints if not any(part in text for part in REFUSED)] == []
    page.context.close()


def test_a_silent_workspace_is_tried_again_by_the_page_itself(
    browser: Browser, doors: Doors
) -> None:
    page = visit(browser, doors, "silent", "en")
    with page.expect_navigation():
        pass
    expect(page.get_by_role("heading")).to_have_text(i18n.translate("en", "gate.silent.title"))
    page.context.close()


@pytest.mark.parametrize("manager", [{"COMFYUI_ARGS": "--demo-zero-boot"}], indirect=True)
def test_who_comes_back_to_an_ended_workspace_finds_the_way_to_his_page(
    manager: ManagerProcess, people: People
) -> None:
    ann = first_admin(people)
    ann.starts()
    link = ann.link("user.open").get_attribute("href") or ""
    tab = ann.opens_workspace()
    ann.stops()
    ann.headline("user.headline.idle")
    tab.reload()
    heading = tab.get_by_role("heading", level=1)
    expect(heading).to_have_text(ann.t("gate.ended.title"))
    tab.goto(link)
    expect(heading).to_have_text(ann.t("gate.denied.title"))
    stranger = people()
    stranger.page.goto(tab.url.split("?")[0])
    stranger.headline("gate.closed.title")
    tab.get_by_role("link", name=ann.t("gate.back")).click()
    expect(heading).to_have_text(ann.t("user.headline.idle"))
    # The tabs left open have started nothing.
    ann.goes("/")
    ann.headline("user.headline.idle")
