"""The record of use in real browsers: sorting, another period, the files, a narrow window."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.test_whole_way import People, first_admin, new_user
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

QUICK = pytest.mark.parametrize("manager", [{"COMFYUI_ARGS": "--demo-zero-boot"}], indirect=True)


@QUICK
def test_admins_sort_choose_and_take_away(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    for name, sessions in (("ann", 2), ("bob", 1)):
        user = new_user(people, admin, name)
        for _ in range(sessions):
            user.starts()
            user.stops()
            user.headline("user.headline.idle")
        user.goes("/")
        expect(user.page.get_by_role("heading", name=user.t("user.usage.title"))).to_be_visible()
        user.has_no_complaints()
    admin.goes("/admin")
    panel = admin.page.get_by_role("region", name=admin.t("admin.usage.title"), exact=True)
    names = panel.locator('[data-role="totals"] th')
    head = panel.locator("thead").first
    sessions_head = head.get_by_role("button", name=admin.t("admin.usage.column.sessions"))
    sessions_head.click()
    expect(names).to_have_text(["ann", "bob"])
    expect(panel.locator('[data-sort="sessions"]')).to_have_attribute("aria-sort", "descending")
    sessions_head.press("Enter")
    expect(names).to_have_text(["bob", "ann"])
    panel.get_by_label(admin.t("admin.usage.by"), exact=True).select_option("card")
    expect(names.first).to_have_text(admin.t("card.label", card=1))
    panel.get_by_label(admin.t("admin.usage.period"), exact=True).select_option("today")
    with admin.page.expect_download() as taken:
        panel.get_by_role("link", name=admin.t("admin.usage.csv_sessions")).click()
    text = Path(taken.value.path()).read_text(encoding="utf-8-sig")
    assert [line.split(",")[0] for line in text.splitlines()] == ["username", "bob", "ann", "ann"]
    assert "-today-session" in taken.value.suggested_filename
    panel.get_by_text(admin.t("admin.usage.sessions")).click()
    rows = panel.locator('[data-role="sessions"] tr')
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text(admin.t("admin.usage.end.user"))
    admin.page.set_viewport_size({"width": 360, "height": 740})
    admin.has_no_sideways_scrolling()
    panel.get_by_label(admin.t("admin.usage.sort")).select_option("key")
    # The card that has rested longest comes next, so both were used.
    expect(names).to_have_text([admin.t("card.label", card=card) for card in (1, 2)])
    admin.has_no_complaints()
