"""The user's pictures in a real browser: look, page, take away, delete and undo."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.test_whole_way import People, first_admin
from tests.support import faces
from tests.support.browser import Person
from tests.support.pictures import PROMPT, png
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

QUICK = pytest.mark.parametrize("manager", [{"COMFYUI_ARGS": "--demo-zero-boot"}], indirect=True)


def folder_of(manager: ManagerProcess) -> Path:
    """Give the output folder of the one who has started."""
    (found,) = (manager.data_dir / "workspaces").glob("*/output")
    return found


def fill(output: Path, count: int) -> None:
    """Save pictures as the user's ComfyUI does: under its account."""
    owner = output.stat()
    for number in range(count):
        path = png(output / f"ComfyUI_{number:05}_.png", at=1_700_000_000 + number, size=(96, 64))
        os.chown(path, owner.st_uid, owner.st_gid)
    for name, content in (("film.webm", b"x"), ("broken.png", b"no picture")):
        (output / name).write_bytes(content)
        os.chown(output / name, owner.st_uid, owner.st_gid)
        os.utime(output / name, (1_600_000_000, 1_600_000_000))


@QUICK
def test_pictures_stay_when_nothing_runs(manager: ManagerProcess, people: People) -> None:
    ann = first_admin(people, "zh_CN")
    ann.sees("user.gallery.empty")
    ann.starts()
    ann.stops()
    ann.headline("user.headline.idle")
    fill(folder_of(manager), 12)
    ann.goes("/")
    gallery = ann.page.get_by_role("region", name=ann.t("user.gallery.title"))
    names = gallery.locator('[data-field="name"]')
    expect(names).to_have_count(12)
    expect(names.first).to_have_text("ComfyUI_00011_.png")
    gallery.get_by_role("button", name=ann.t("user.gallery.older")).click()
    ann.sees("user.gallery.pages", page=2, pages=2)
    expect(names).to_have_text(["broken.png", "film.webm"])
    expect(gallery.locator("img:visible")).to_have_count(0)
    with ann.page.expect_download() as taken:
        gallery.get_by_role("link", name=ann.t("user.gallery.open_video", name="film.webm")).click()
    assert Path(taken.value.path()).read_bytes() == b"x"
    gallery.get_by_role("button", name=ann.t("user.gallery.newer")).click()
    ann.page.set_viewport_size(faces.PHONE)
    expect(gallery.locator("img:visible")).to_have_count(12)
    faces.wait_for_pictures(gallery.locator("[data-picture] img"))
    ann.has_no_sideways_scrolling()
    ann.has_no_complaints("status of 404")


@QUICK
def test_a_picture_by_itself_and_its_end_by_keyboard(
    manager: ManagerProcess, people: People
) -> None:
    ann = first_admin(people)
    ann.starts()
    fill(folder_of(manager), 2)
    ann.goes("/")
    newest, older = "ComfyUI_00001_.png", "ComfyUI_00000_.png"
    ann.page.get_by_role("link", name=ann.t("user.gallery.open", name=newest)).press("Enter")
    viewer = ann.page.get_by_role("dialog", name=newest)
    expect(viewer.get_by_role("img", name=newest)).to_be_visible()
    expect(viewer.get_by_role("button", name=ann.t("user.gallery.previous"))).to_be_disabled()
    viewer.press("ArrowRight")
    viewer = ann.page.get_by_role("dialog", name=older)
    expect(viewer.get_by_role("img", name=older)).to_be_visible()
    viewer.get_by_role("button", name=ann.t("user.gallery.workflow")).click()
    viewer.get_by_text(ann.t("user.gallery.text.prompt")).click()
    text = viewer.get_by_label(ann.t("user.gallery.text.prompt")).input_value()
    assert json.loads(text) == json.loads(PROMPT)
    with ann.page.expect_download() as taken:
        viewer.locator('[data-workflow="prompt"]').get_by_role("link").click()
    assert Path(taken.value.path()).read_text(encoding="utf-8") == PROMPT
    assert taken.value.suggested_filename == f"{older}.prompt.json"
    assert faces.findings(ann.page) == []
    ann.page.keyboard.press("Escape")
    expect(
        ann.page.get_by_role("link", name=ann.t("user.gallery.open", name=older))
    ).to_be_focused()
    _delete_and_undo(ann, folder_of(manager), older)
    ann.has_no_complaints("status of 404")


def _delete_and_undo(ann: Person, output: Path, name: str) -> None:
    link = ann.page.get_by_role("link", name=ann.t("user.gallery.open", name=name))
    link.click()
    ann.page.get_by_role("dialog").get_by_role("button", name=ann.t("user.gallery.delete")).click()
    ann.page.locator("[data-confirm]").get_by_role(
        "button", name=ann.t("user.gallery.delete"), exact=True
    ).click()
    ann.sees("user.gallery.deleted", name=name)
    expect(link).to_have_count(0)
    assert not (output / name).exists()
    undo = ann.button("user.gallery.undo")
    expect(undo).to_be_focused()
    undo.press("Enter")
    expect(link).to_be_visible()
    assert (output / name).exists()
