"""The idle verdict in real browsers: warned and extended, kept for announced work, prompts kept."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.test_whole_way import GIVEN, OWN, first_admin
from tests.support.browser import Person
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

People = Callable[..., Person]

LONG = {"IDLE_TIMEOUT": "600", "IDLE_WARNING": "1", "EXTEND_BY": "1800"}
"""The warning comes six seconds after the start, and the end never in a test."""


def fits_a_phone(person: Person) -> None:
    person.page.set_viewport_size({"width": 360, "height": 740})
    person.has_no_sideways_scrolling()
    person.page.set_viewport_size({"width": 1280, "height": 720})


@pytest.mark.parametrize("manager", [LONG], indirect=True)
def test_a_warned_user_says_that_he_is_still_here(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    admin.starts()
    warning = admin.page.locator('[data-role="idle-warning"]')
    expect(warning).to_be_visible()
    expect(admin.page).to_have_title(re.compile("^⚠"))
    fits_a_phone(admin)
    admin.button("user.warning.extend").click()
    expect(warning).to_be_hidden()
    # Half an hour on top of what was left.
    left = admin.page.locator('[data-role="idle-text"]')
    expect(left).to_contain_text("39:")
    admin.has_no_complaints()


@pytest.mark.parametrize("manager", [{"rows": "1"}], indirect=True)
def test_announced_work_is_seen_by_who_waits_and_ended_by_an_admin(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    admin.goes("/admin")
    admin.creates_user("ann", GIVEN)
    ann = people(language)
    ann.comes_in("ann", GIVEN, OWN)
    ann.starts()
    ann.page.get_by_text(ann.t("user.awake.title"), exact=True).click()
    ann.field("user.awake.how_long").select_option("3600")
    ann.button("user.awake.keep").click()
    expect(ann.button("user.awake.end")).to_be_visible()
    fits_a_phone(ann)

    admin.goes("/")
    admin.button("user.line.join").click()
    held = admin.page.locator('[data-role="line-held"]')
    expect(held).to_contain_text(admin.t("card.label", card=1))
    fits_a_phone(admin)

    admin.goes("/admin")
    fits_a_phone(admin)
    admin.button("admin.ports.end_awake_of", port=manager.ports[0]).click()
    expect(ann.button("user.awake.end")).to_be_hidden()
    for person in (admin, ann):
        person.has_no_complaints()


def graph(seconds: int) -> dict[str, object]:
    """Make a workflow that takes minutes."""
    return {
        "1": {"class_type": "Sleep", "inputs": {"seconds": 600 + seconds}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "kept"}},
    }


@pytest.mark.parametrize("manager", [{"COMFYUI_ARGS": "--demo-zero-boot"}], indirect=True)
def test_what_was_waiting_at_the_stop_is_offered_and_sent_again(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    admin.starts()
    url = admin.page.locator('[data-role="external"]').input_value()
    base, token = url.split("/?")
    for number in range(3):
        answer = admin.context.request.post(
            f"{base}/prompt?{token}", data={"prompt": graph(number)}
        )
        assert answer.ok, answer.text()
    admin.stops()
    admin.headline("user.headline.idle")
    kept = admin.page.get_by_role("region", name=admin.t("user.kept.title"))
    expect(kept).to_contain_text(admin.t("user.kept.later"))
    admin.starts()
    expect(kept).to_contain_text(admin.t("user.kept.ask"))
    kept.get_by_text(admin.t("user.kept.list"), exact=True).click()
    expect(kept.get_by_role("listitem").first).to_contain_text("SaveImage")
    fits_a_phone(admin)
    admin.button("user.kept.drop").click()
    expect(kept).to_be_hidden()
    admin.button("user.kept.take_back").click()
    expect(kept).to_contain_text(admin.t("user.kept.ask"))
    expect(admin.button("user.kept.take_back")).to_be_hidden()
    admin.button("user.kept.send").click()
    expect(kept).to_contain_text(admin.t("user.kept.accepted", count=3))
    admin.button("user.kept.close").click()
    expect(kept).to_be_hidden()
    admin.has_no_complaints()
