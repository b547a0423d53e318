"""The wall, the charts and the settings in real browsers: one manager with four cards for all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from manager import line_history
from manager.cards.reading import CardProcess
from manager.spans import LineSpan
from manager.store import Store
from tests.browser.test_whole_way import People
from tests.support import faces
from tests.support.browser import Person
from tests.support.card_days import fill
from tests.support.card_tools import Npu, NpuSmi
from tests.support.client import ADMIN_PASSWORD, Client, first_admin, new_user
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

SCREEN = {"width": 1920, "height": 1080}
STRANGER = CardProcess(1, 5000 << 20, "/sbin/other", "")
NOTHING_WIDER = "document.documentElement.scrollWidth <= innerWidth"
ALL_FITS = "document.documentElement.scrollHeight <= innerHeight"
CUT = "all => all.filter(one => one.scrollHeight > one.clientHeight + 1).length"


@dataclass
class House:
    """A manager and who is in it."""

    manager: ManagerProcess
    tool: NpuSmi
    admin: Client
    ann: Client
    bob: Client

    def shows(self, *, busy: int = 0) -> None:
        """Have the tool show three of the four cards; the first is busy, the second somebody's."""
        theirs = Npu(1, used=9000, processes=(STRANGER,))
        self.tool.shows([Npu(0, use=busy, celsius=61), theirs, Npu(2)])


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("wall")
    tool = NpuSmi(folder / "tool")
    settings = {
        "CARD_KIND": "ascend",
        "CARD_SAMPLE_INTERVAL": "1",
        "COMFYUI_ARGS": "--demo-zero-boot",
        **tool.env,
    }
    manager = ManagerProcess(folder / "manager", rows=4, settings=settings)
    tool.shows([Npu(number) for number in range(3)])
    with (
        manager,
        first_admin(manager) as admin,
        new_user(admin, "ann", manager.ports[0]) as ann,
        new_user(admin, "bob") as bob,
    ):
        built = House(manager, tool, admin, ann, bob)
        built.shows()
        # The third is out of use.
        admin.ask("PUT", f"/api/admin/ports/{manager.ports[2]}/reservation", {"user_ids": []})
        yield built


@pytest.fixture(scope="module")
def past(house: House) -> None:
    """Give the house some days behind it."""
    now = int(time.time())
    database = house.manager.folder / "comfyui_manager.db"
    fill(database, 3, now, days=3)
    span_s = line_history.QUARTER_S
    begin = now // span_s * span_s - 4 * 86_400
    spans = [LineSpan(span_s, at, 60, 90, 4, 720.0) for at in range(begin, now - span_s, span_s)]
    store = Store(database, 1)
    store.write(lambda tables: tables.line_history.prune(span_s, now))
    store.write(lambda tables: tables.line_history.add(spans))
    store.close()
    house.ann.start()
    house.ann.stop()


@pytest.fixture
def manager(house: House) -> ManagerProcess:
    return house.manager


@pytest.fixture
def admin(people: People, house: House, language: str) -> Person:
    person = people(language, viewport=SCREEN)
    person.log_in("admin", ADMIN_PASSWORD)
    person.headline("user.headline.idle")
    return person


def tile(admin: Person, card: int) -> Locator:
    return admin.page.get_by_role("listitem").filter(
        has=admin.page.get_by_role("heading", name=admin.t("card.label", card=card), exact=True)
    )


def test_the_wall_says_who_has_which_card_and_follows(house: House, admin: Person) -> None:
    admin.goes("/admin")
    admin.link("wall.title").click()
    page = admin.page
    expect(tile(admin, 1)).to_contain_text(admin.t("wall.standing.free"))
    expect(tile(admin, 2)).to_contain_text(admin.t("wall.standing.outside"))
    expect(tile(admin, 2)).to_contain_text("1 other")
    expect(tile(admin, 3)).to_contain_text(admin.t("wall.standing.out_of_use"))
    expect(tile(admin, 4)).to_contain_text(admin.t("wall.standing.unknown"))
    admin.sees("wall.live")
    admin.sees("wall.line.empty")
    page.evaluate("window.same = true")

    house.ann.start()
    who = tile(admin, 1).locator('[data-field="who"]')
    expect(who).to_have_text("ann")
    expect(tile(admin, 1)).to_contain_text(admin.t("wall.standing.running"))
    expect(tile(admin, 1).get_by_role("progressbar").first).to_be_visible()
    house.shows(busy=87)
    expect(tile(admin, 1)).to_contain_text(admin.t("wall.percent", percent=87))
    expect(tile(admin, 1)).to_contain_text("61 °C")

    # Bob takes the card of which nobody knows how it is; the admin waits for one.
    house.bob.start()
    expect(tile(admin, 4).locator('[data-field="who"]')).to_have_text("bob")
    house.admin.post("/api/user/line")
    expect(page.locator('[data-role="line"] li')).to_contain_text("admin")
    for card in (1, 4):
        expect(tile(admin, card)).to_contain_text(admin.t("wall.next", username="admin"))
    assert page.evaluate("window.same")
    assert page.evaluate(ALL_FITS)
    assert page.locator(".wall-inner").evaluate_all(CUT) == 0
    assert faces.findings(page) == []

    page.set_viewport_size(faces.PHONE)
    admin.has_no_sideways_scrolling()
    assert faces.findings(page) == []
    tile(admin, 4).get_by_role("link").click()
    row = page.locator(f"#port-{house.manager.ports[3]}")
    expect(row).to_contain_text("bob")
    expect(row).to_be_in_viewport()
    admin.has_no_complaints()

    house.admin.ask("DELETE", "/api/user/line")
    house.ann.stop()
    house.bob.stop()
    house.shows()


@pytest.mark.parametrize("language", ["en"])
def test_the_wall_says_since_when_nothing_has_come(house: House, admin: Person) -> None:
    admin.goes("/wall")
    live = admin.page.locator("[data-live]")
    expect(live).to_have_attribute("data-live", "live")
    house.manager.kill()
    expect(live).to_have_attribute("data-live", "lost")
    expect(live).to_contain_text(admin.t("wall.lost").split("{")[0])
    house.manager.start()
    expect(live).to_have_attribute("data-live", "live")
    expect(tile(admin, 1)).to_contain_text(admin.t("wall.standing.free"))


@pytest.mark.parametrize("language", ["en"])
def test_script_and_server_write_the_same_wall(house: House, admin: Person, people: People) -> None:
    plain = people("en", java_script_enabled=False, viewport=SCREEN)
    plain.log_in("admin", ADMIN_PASSWORD)
    for person in (admin, plain):
        person.goes("/wall")
    admin.sees("wall.live")
    texts = [person.page.locator("[data-tile]").all_inner_texts() for person in (admin, plain)]
    assert texts[0] == texts[1]


@pytest.mark.usefixtures("past")
def test_the_charts_have_tables_behind_them(house: House, admin: Person) -> None:
    admin.goes("/admin")
    admin.link("charts.title").click()
    page = admin.page
    for name in ("held", "cards", "line"):
        if name == "line":
            # Its table is long, and takes axe its time.
            assert faces.findings(page) == []
        panel = page.locator(f'[data-chart="{name}"]')
        expect(panel.locator("canvas")).to_be_visible()
        panel.get_by_text(admin.t("charts.table"), exact=True).click()
        table = panel.get_by_role("table", name=admin.t(f"charts.{name}"))
        expect(table.get_by_role("row").nth(1)).to_be_visible()
    held = page.get_by_role("table", name=admin.t("charts.held"))
    expect(held.get_by_role("columnheader", name="ann")).to_be_visible()
    cards = page.get_by_role("table", name=admin.t("charts.cards"))
    expect(cards.get_by_role("columnheader", name=admin.t("card.label", card=3))).to_be_visible()
    expect(cards.get_by_role("row").nth(3)).to_contain_text("%")
    line = page.get_by_role("table", name=admin.t("charts.line"))
    expect(line.get_by_role("row").nth(20)).to_contain_text("1.5")

    page.get_by_label(admin.t("charts.period")).select_option("90d")
    expect(page).to_have_url(f"{house.manager.url}/charts?period=90d")
    expect(page.locator('[data-chart="line"] canvas')).to_be_visible()
    with page.expect_download() as taken:
        page.locator('[data-chart="line"]').get_by_role("link").click()
    text = Path(taken.value.path()).read_text(encoding="utf-8-sig")
    assert text.startswith("at,length_mean,length_high,wait_high")
    page.set_viewport_size(faces.PHONE)
    admin.has_no_sideways_scrolling()
    widths = page.locator("canvas").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect().right <= innerWidth)"
    )
    assert set(widths) == {True}
    admin.has_no_complaints()


def test_the_settings_are_found_as_one_types(house: House, admin: Person) -> None:
    admin.goes("/admin")
    admin.link("settings.title").click()
    page = admin.page
    row = page.locator('[data-setting="CARD_SAMPLE_INTERVAL"]')
    expect(row).to_contain_text(admin.t("settings.from.environment"))
    expect(row).to_contain_text(admin.t("settings.changed"))
    sought = page.get_by_label(admin.t("settings.search"))
    sought.fill("card sample")
    expect(page.locator("[data-setting]:visible")).to_have_count(1)
    expect(row).to_be_visible()
    sought.fill("no such words")
    admin.sees("settings.nothing")
    sought.fill("")
    page.get_by_role("checkbox").check()
    expect(page.locator('[data-setting="START_TIMEOUT"]')).to_be_hidden()
    expect(row).to_be_visible()
    page.get_by_role("checkbox").uncheck()
    assert faces.findings(page) == []
    page.set_viewport_size(faces.PHONE)
    admin.has_no_sideways_scrolling()
    admin.has_no_complaints()


def test_what_is_done_to_a_port_can_be_undone(house: House, admin: Person) -> None:
    port = house.manager.ports[0]
    told: dict[str, Any] = {"user_ids": [], "until": None, "reason": "a course"}
    page = admin.page
    page.clock.install()
    admin.goes("/admin")
    row, undo = page.locator(f"#port-{port}"), admin.button("undo.undo")
    reserved = row.locator('[data-field="reserved"]')
    house.admin.ask("PUT", f"/api/admin/ports/{port}/reservation", told)
    expect(row).to_contain_text("a course")
    # From here on no second passes in the page: however slow the machine is, the word stays.
    page.clock.pause_at(time.time() + 3600)

    row.locator('[data-rule="put-back"]').click()
    expect(reserved).to_be_hidden()
    undo.focus()
    undo.press("Enter")
    expect(row).to_contain_text("a course")
    expect(undo).to_have_count(0)
    admin.sees("undo.undone")

    row.locator('[data-rule="put-back"]').click()
    expect(undo).to_be_visible()
    page.clock.fast_forward(10_000)
    expect(undo).to_have_count(0)
    expect(reserved).to_be_hidden()

    row.locator('[data-rule="drain"]').click()
    status = page.get_by_role("status")
    expect(status.filter(has_text=admin.t("admin.reserved.drained", port=port))).to_be_visible()
    expect(row).to_contain_text(admin.t("admin.reserved.nobody"))
    undo.focus()
    page.clock.fast_forward(60_000)
    # Whoever is at it has all the time.
    expect(undo).to_be_visible()
    page.clock.resume()
    assert faces.findings(page) == []
    page.keyboard.press("Control+z")
    expect(reserved).to_be_hidden()
    expect(undo).to_have_count(0)
    admin.has_no_complaints()
