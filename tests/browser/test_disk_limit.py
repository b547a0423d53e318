"""A user whose files take too much, in a real browser: warned, kept from starting, let in again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.test_rules import set_limits
from tests.browser.test_whole_way import People, first_admin, new_user
from tests.support.browser import Person
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser

BIG = 3 << 20
LONG_MS = 120_000
"""Folders are looked at once a minute."""


def output_of(manager: ManagerProcess, name: str) -> Path:
    def found() -> list[Path]:
        return list((manager.data_dir / "workspaces").glob(f"*-{name}-*/output"))

    return wait_until(found, 60, "the user has a folder")[0]


def warning(person: Person) -> Locator:
    return person.page.locator('[data-role="disk-warning"]')


@pytest.mark.parametrize(
    "manager",
    [
        {
            "COMFYUI_ARGS": "--demo-zero-boot",
            "DISK_SOFT_LIMIT": "2",
            "DISK_USE_INTERVAL": "1",
        }
    ],
    indirect=True,
)
def test_too_many_files(manager: ManagerProcess, people: People) -> None:
    admin = first_admin(people, "zh_CN")
    ann = new_user(people, admin, "ann")
    ann.starts()
    (output_of(manager, "ann") / "big.png").write_bytes(b"x" * BIG)
    ann.goes("/")
    shown = warning(ann).get_by_text(ann.t("user.disk.warning.do.output"))
    expect(shown).to_be_visible(timeout=LONG_MS)
    limit = ann.t("user.disk.warning.over", share="[0-9]+", limit=re.escape("2.0 MiB"))
    expect(warning(ann).locator("strong")).to_have_text(re.compile(limit))
    # What runs goes on.
    ann.headline("user.headline.running")
    ann.stops()
    ann.headline("user.headline.disk_full")
    expect(ann.page.get_by_role("button", name=ann.t("user.start"))).to_be_hidden()
    assert (output_of(manager, "ann") / "big.png").stat().st_size == BIG
    row = admin.page.get_by_role("row").filter(has_text="ann")
    expect(row.locator('[data-field="disk_total"][data-level="over"]')).to_contain_text("2.0 MiB")
    gives_more_room(admin)
    ann.headline("user.headline.idle")
    expect(row.locator('[data-field="disk_total"]')).to_contain_text("1.0 GiB")
    for person in (admin, ann):
        person.page.set_viewport_size({"width": 360, "height": 740})
        person.has_no_sideways_scrolling()
    ann.starts()
    for person in (admin, ann):
        person.has_no_complaints()


def gives_more_room(admin: Person) -> None:
    label = admin.t("admin.limits.disk")

    def fill(dialog: Locator) -> None:
        dialog.get_by_label(label, exact=True).fill("1")

    set_limits(admin, "ann", fill)
