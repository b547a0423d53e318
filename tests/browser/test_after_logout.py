"""What stays in a browser past a logout: nothing of the pictures, for whoever comes next."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.test_gallery import folder_of
from tests.browser.test_whole_way import OWN, People, first_admin, new_user
from tests.support.browser import ARGUMENTS, CHROMIUM, Person
from tests.support.pictures import png
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

QUICK = pytest.mark.parametrize("manager", [{"COMFYUI_ARGS": "--demo-zero-boot"}], indirect=True)

HOW = """async (address) => {
    const answer = await fetch(address);
    return answer.ok ? (await answer.blob()).size : -answer.status;
}"""


class OnDisk:
    """A browser whose profile is a folder."""

    def __init__(self, browser: Browser, folder: Path) -> None:
        self._browser = browser
        self._folder = folder

    def new_context(self, **more: Any) -> BrowserContext:
        return self._browser.browser_type.launch_persistent_context(
            self._folder, executable_path=CHROMIUM, args=ARGUMENTS, **more
        )


def asks(person: Person, address: str) -> int:
    """Fetch a picture as a page does; give its length, or the number of the refusal below zero."""
    return int(person.page.evaluate(HOW, address))


def logs_out(person: Person, username: str) -> None:
    person.page.locator("summary").filter(has_text=username).first.click()
    person.button("nav.logout").click()
    person.page.wait_for_url("**/login")


def has_a_picture(manager: ManagerProcess, person: Person) -> tuple[Path, str, str]:
    """Have one saved and shown; give its file and the addresses of the small and the whole one."""
    person.goes("/")
    person.starts()
    output = folder_of(manager)
    owner = output.stat()
    os.chown(png(output / "secret-x.png", size=(96, 64)), owner.st_uid, owner.st_gid)
    person.stops()
    person.headline("user.headline.idle")
    person.goes("/")
    picture = person.page.locator("[data-picture] img").first
    expect(picture).to_be_visible()
    small = picture.get_attribute("src") or ""
    whole = small.replace("/thumbnail", "/file")
    assert asks(person, small) > 0
    assert asks(person, whole) > 0
    return output / "secret-x.png", small, whole


@QUICK
def test_the_next_user_gets_none_of_the_last_one_s_pictures(
    manager: ManagerProcess, people: People
) -> None:
    ann = first_admin(people)
    new_user(people, ann, "bob")
    file, small, whole = has_a_picture(manager, ann)
    # As it is where the time of a login is over: nothing was cleared.
    ann.context.clear_cookies()
    ann.log_in("bob", OWN)
    ann.headline("user.headline.idle")
    assert [asks(ann, one) for one in (small, whole)] == [-404, -404]
    logs_out(ann, "bob")
    ann.log_in("admin", OWN)
    ann.headline("user.headline.idle")
    assert asks(ann, whole) > 0
    # Whatever is kept is asked for again, also by the same user.
    file.unlink()
    assert [asks(ann, one) for one in (small, whole)] == [-404, -404]


@QUICK
def test_nothing_of_a_picture_lies_on_the_disk_after_a_logout(
    manager: ManagerProcess, browser: Browser, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"

    def kept() -> list[str]:
        # Chromium's cache names each entry's address in its file.
        files = [one for one in profile.rglob("Cache_Data/*") if one.is_file()]
        return [one.name for one in files if b"secret-x.png" in one.read_bytes()]

    ann = Person(cast("Browser", OnDisk(browser, profile)), manager, "en")
    try:
        ann.comes_in("admin", "admin123", OWN)
        has_a_picture(manager, ann)
    finally:
        ann.context.close()
    assert kept(), "else this test sees nothing"
    ann = Person(cast("Browser", OnDisk(browser, profile)), manager, "en")
    try:
        ann.goes("/")
        logs_out(ann, "admin")
    finally:
        ann.context.close()
    assert kept() == []
