"""Each face of the user's page, each dialog: axe-core, a small phone, and the keyboard."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.test_whole_way import GIVEN, OWN, People
from tests.support import faces
from tests.support.browser import FIRST_PASSWORD, Person
from tests.support.listening_page import ListeningPage
from tests.support.pictures import png
from tests.support.server import ManagerProcess
from tests.support.states import user_states

pytestmark = pytest.mark.browser

ONE_HOUSE = pytest.mark.parametrize(
    "manager",
    [{"rows": "1", "COMFYUI_ARGS": "--demo-zero-boot", "BUSY_SLOWDOWN": "1"}],
    indirect=True,
)

MAY_START = {"idle", "failed", "failed, no reason known", "ended for idleness", "turn"}
"""In all other faces the button would only lead to a refusal."""

DIALOG = "dialog[open]"
"""What lies below an open dialog cannot be reached, and was looked at before."""

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
WITHOUT_RING = """() => {
  const style = getComputedStyle(document.activeElement);
  return style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2;
}"""


class Faces:
    """What was wrong with what was looked at."""

    def __init__(self) -> None:
        self.wrong: dict[str, list[str]] = {}

    def look(self, page: Page, what: str, within: str | None = None) -> None:
        found = faces.findings(page, within)
        page.set_viewport_size(faces.PHONE)
        if page.evaluate(WIDER) > 0:
            found.append(f"{page.evaluate(WIDER)} px too wide for a phone")
        page.set_viewport_size(faces.DESK)
        if found:
            self.wrong[what] = found


def unfold(page: Page) -> None:
    page.locator("details.fold").evaluate_all("all => all.forEach((one) => { one.open = true; })")


@ONE_HOUSE
def test_every_face_of_the_users_page(
    manager: ManagerProcess, people: People, tmp_path: Path
) -> None:
    seen, ann = Faces(), people("zh_CN", viewport=faces.DESK)
    ann.comes_in("admin", FIRST_PASSWORD, OWN)
    listening = ListeningPage(ann.page)
    ann.goes("/")
    unfold(ann.page)
    ann.page.wait_for_function("document.querySelector('[data-user]').dataset.phase === 'idle'")
    for name, state in user_states(tmp_path):
        listening.tell(state)
        start = ann.page.locator("[data-action=start]")
        expect(start, name).to_be_visible(visible=name in MAY_START)
        seen.look(ann.page, name)
    ann.has_no_complaints()
    assert seen.wrong == {}


def opens_and_closes(page: Page, opener: Locator, seen: Faces, what: str) -> None:
    """Open a dialog by the keyboard, look at it, and close it: the focus is where it was."""
    opener.focus()
    # After a click a browser shows the focus again once it comes by a key.
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    expect(opener).to_be_focused()
    assert not page.evaluate(WITHOUT_RING), what
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Tab")
    assert dialog.evaluate("(one) => one.contains(document.activeElement)"), what
    seen.look(page, what, DIALOG)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


@ONE_HOUSE
def test_every_dialog_by_keyboard(manager: ManagerProcess, people: People) -> None:
    seen, admin = Faces(), people("en", viewport=faces.DESK, reduced_motion="reduce")
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.starts()
    (output,) = (manager.data_dir / "workspaces").glob("*/output")
    picture = png(output / "ComfyUI_00001_.png", at=1_700_000_000, size=(96, 64))
    os.chown(picture, output.stat().st_uid, output.stat().st_gid)
    admin.goes("/")
    page = admin.page
    admin.headline("user.headline.running")
    opens_and_closes(page, admin.button("user.stop"), seen, "stop?")
    opens_and_closes(page, page.locator("[data-picture] a"), seen, "picture")
    admin.goes("/admin")
    admin.creates_user("ann", GIVEN)
    port = manager.ports[0]
    for opener, what in (
        (admin.button("admin.users.create"), "create"),
        (admin.button("admin.limits.button_of", username="ann"), "limits"),
        (admin.button("admin.users.delete_of", username="ann"), "delete?"),
        (admin.button("admin.reserved.reserve_of", port=port), "reserve"),
        (admin.button("admin.ports.log", port=port), "log"),
    ):
        opens_and_closes(page, opener, seen, what)
    admin.button("admin.users.reset_of", username="ann").click()
    admin.agrees("admin.reset_confirm.yes")
    expect(page.get_by_role("dialog").get_by_role("textbox")).not_to_have_value("")
    seen.look(page, "a new password", DIALOG)
    page.keyboard.press("Escape")
    for path in ("/account", "/admin/audit", "/password", "/nowhere"):
        admin.goes(path)
        seen.look(page, path)
    admin.has_no_complaints("404")
    assert seen.wrong == {}


@ONE_HOUSE
def test_every_act_is_reached_by_tab_and_shows_that_it_is(
    manager: ManagerProcess, people: People
) -> None:
    admin = people("en", viewport=faces.DESK, reduced_motion="reduce")
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    for path in ("/", "/admin"):
        admin.goes(path)
        admin.page.wait_for_load_state("load")
        _walks(admin)


_ACTS = """() => {
  const named = (one) => (one.closest("svg") ? "" : one.outerHTML.slice(0, 160));
  const all = document.querySelectorAll("a[href], button, input, select, textarea, summary");
  return [...all].filter((one) => !one.disabled && one.checkVisibility()).map(named);
}"""
_MOVING = """() => document.getAnimations().filter((one) => {
  const { duration, iterations } = one.effect.getComputedTiming();
  return duration * iterations > 20;
}).length"""


def _walks(admin: Person) -> None:
    page = admin.page
    reached: set[str] = set()
    acts = page.evaluate(_ACTS)
    assert page.evaluate(_MOVING) == 0, "less motion was asked for"
    for _ in range(2 * len(acts)):
        page.keyboard.press("Tab")
        html = page.evaluate("document.activeElement.outerHTML.slice(0, 160)")
        if html.startswith("<body"):
            continue  # From the last to the first the focus passes the browser itself.
        if html in reached and len(reached) >= len(set(acts)):
            break
        assert not page.evaluate(WITHOUT_RING), html
        reached.add(html)
    assert set(acts) <= reached, set(acts) - reached
