"""The cards' history in real browsers: charts with gaps, a table, a narrow window, no script."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import Request, expect

from tests.browser.test_whole_way import OWN, People, first_admin
from tests.support.card_days import fill
from tests.support.card_tools import Npu, NpuSmi
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

CARDS = 2


@pytest.fixture
def manager(tmp_path: Path) -> object:
    """Run one with two cards and a month behind it."""
    tool = NpuSmi(tmp_path / "tool")
    tool.shows([Npu(n) for n in range(CARDS)])
    settings = {"CARD_KIND": "ascend", "CARD_SAMPLE_INTERVAL": "1", **tool.env}
    with ManagerProcess(tmp_path / "manager", rows=CARDS, settings=settings) as running:
        fill(running.folder / "comfyui_manager.db", CARDS, time.time())
        yield running


def test_charts_come_when_they_are_opened(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    asked: list[str] = []

    def hear(request: Request) -> None:
        asked.append(request.url)

    admin.page.on("request", hear)
    admin.goes("/admin")
    admin.page.wait_for_load_state("load")
    summary = admin.page.get_by_text(admin.t("admin.history.title"), exact=True)
    summary.scroll_into_view_if_needed()
    assert not [url for url in asked if "uplot" in url or "history?" in url]
    summary.press("Enter")
    panel = admin.page.locator("[data-card-history]")
    plots = panel.get_by_role("img")
    expect(plots).to_have_count(4)
    for name in ("memory_used", "utilisation", "temperature", "power"):
        words = admin.t(f"admin.history.{name}")
        expect(panel.locator(f'[data-chart="{name}"]').get_by_role("img")).to_have_accessible_name(
            f"{words}: {panel.locator(f'[data-chart={name}] [data-role=now]').inner_text()}"
        )
        expect(panel.locator(f'[data-chart="{name}"] canvas')).to_be_visible()
    widths = plots.evaluate_all("all => all.map(one => one.scrollWidth - one.clientWidth)")
    assert widths == [0, 0, 0, 0]

    panel.get_by_text(admin.t("admin.history.table"), exact=True).click()
    rows = panel.locator('[data-role="history-rows"] tr')
    gap = rows.filter(has_text=admin.t("admin.history.unknown"))
    # From one time to another, however many spans it is.
    expect(gap.last).to_contain_text("–")
    expect(rows.filter(has_text="GiB").first).to_contain_text("°C")
    with admin.page.expect_response(lambda answer: "period=30d" in answer.url):
        panel.get_by_label(admin.t("admin.history.period")).select_option("30d")
    expect(gap.last).to_contain_text("–")
    expect(rows.nth(300)).to_contain_text("GiB")
    with admin.page.expect_response(lambda answer: "card=2" in answer.url):
        panel.get_by_label(admin.t("admin.history.card")).select_option("2")
    expect(rows.filter(has_text=admin.t("admin.history.health.warning")).first).to_be_attached()

    admin.page.emulate_media(color_scheme="dark")
    admin.page.set_viewport_size({"width": 360, "height": 740})
    expect(panel.locator("canvas").first).to_be_visible()
    admin.has_no_sideways_scrolling()
    admin.has_no_complaints()


def test_without_a_script_there_is_the_file(manager: ManagerProcess, people: People) -> None:
    admin = first_admin(people)
    plain = people("en", java_script_enabled=False)
    plain.log_in("admin", OWN)
    plain.goes("/admin")
    plain.page.get_by_text(plain.t("admin.history.title"), exact=True).click()
    with plain.page.expect_download() as taken:
        plain.button("admin.history.csv").click()
    text = Path(taken.value.path()).read_text(encoding="utf-8-sig")
    assert text.startswith("at,seconds,health,memory_total,memory_used_low,")
    assert len(text.splitlines()) > 200
    admin.has_no_complaints()
