"""The examination on the admins' page, in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_whole_way import People, first_admin
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

EXAMINED_MS = 120_000


def test_an_admin_examines_and_reads_what_to_do(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    admin.goes("/admin")
    panel = admin.page.locator("[data-doctor]")
    expect(panel.locator("[data-finding]")).to_have_count(0)
    panel.get_by_text(admin.t("admin.doctor.title"), exact=True).click()
    button = panel.get_by_role("button", name=admin.t("admin.doctor.run"))
    button.press("Enter")
    demo = panel.locator('[data-finding="comfyui"]')
    expect(demo).to_contain_text("COMFYUI_PATH", timeout=EXAMINED_MS)
    expect(demo).to_contain_text(admin.t("doctor.level.warning"))
    expect(button).to_be_enabled()
    # Which of the two is this machine's affair: see how users can be kept apart on it.
    worst = [re.escape(admin.t(f"doctor.worst.{level}")) for level in ("warning", "problem")]
    expect(panel.get_by_role("status")).to_contain_text(re.compile("|".join(worst)))
    # What was found stays for the next look, also for a page without a script.
    admin.goes("/admin")
    expect(panel.locator('[data-finding="database"]')).to_be_visible()
    admin.page.set_viewport_size({"width": 360, "height": 740})
    admin.has_no_sideways_scrolling()
    admin.has_no_complaints()
