"""Running work on the pages: node, steps and percentage, without a reload, in both languages."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.test_whole_way import People, first_admin, new_user
from tests.integration.test_progress import nap
from tests.support.client import Workspace
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

TITLE = "我的 <b>nap</b>"
QUICK = pytest.mark.parametrize("manager", [{"COMFYUI_ARGS": "--demo-zero-boot"}], indirect=True)


@QUICK
def test_work_is_followed_by_its_owner_and_the_admin(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    ann = new_user(people, admin, "ann", manager.ports[0])
    ann.starts()
    title = ann.page.get_by_role("heading", name=ann.t("user.progress.title"))
    expect(title).to_be_hidden()
    workspace = Workspace(ann.link("user.open").get_attribute("href") or "")
    for _ in range(3):
        assert workspace.post("/prompt", {"prompt": nap(120, TITLE)}).ok

    expect(title).to_be_visible()
    node = ann.page.locator("#work-node")
    expect(node).to_contain_text(ann.t("user.progress.node", node=TITLE))
    bar = ann.page.get_by_role("progressbar", name=ann.t("user.progress.bar"))
    expect(bar).to_have_accessible_description(re.compile(re.escape(TITLE)))
    number = re.escape(ann.t("user.progress.step", step="@", steps=20)).replace("@", r"(\d+)")
    expect(node).to_have_text(re.compile(number))
    step = re.findall(number, node.inner_text())[0]
    expect(node).not_to_contain_text(ann.t("user.progress.step", step=step, steps=20))
    expect(node).to_have_text(re.compile(number))
    counts = ann.page.locator('[data-role="work-counts"]')
    expect(counts).to_contain_text(ann.t("user.progress.prompt", prompt=1, prompts=3))
    expect(counts).to_contain_text(ann.t("user.progress.done", finished=1, nodes=3))
    expect(ann.page.locator('[data-role="work-said"]')).to_contain_text(TITLE)
    # The same on first paint.
    reader = people(language, java_script_enabled=False)
    reader.context.add_cookies(ann.context.cookies())  # type: ignore[arg-type]
    reader.goes("/")
    expect(reader.page.locator("#work-node")).to_contain_text(TITLE)

    cell = admin.page.locator(f'[data-port="{manager.ports[0]}"] [data-field="work"]')
    expect(cell).to_contain_text("Sleep")
    name = admin.t("admin.ports.progress", port=manager.ports[0])
    expect(admin.page.get_by_role("progressbar", name=name)).to_be_visible()
    admin.goes("/admin")
    expect(cell).to_contain_text("Sleep")

    ann.page.set_viewport_size({"width": 360, "height": 740})
    ann.has_no_sideways_scrolling()
    workspace.post("/queue", {"clear": True})
    workspace.post("/interrupt", {})
    expect(title).to_be_hidden()
    expect(cell).to_be_hidden()
    workspace.close()
    for person in (admin, ann):
        person.has_no_complaints()
