"""Limits and reservations in real browsers: what admins set, and what users are told in words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.test_whole_way import People, first_admin, new_user
from tests.support.browser import Person
from tests.support.client import Workspace
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

QUICK = pytest.mark.parametrize("manager", [{"COMFYUI_ARGS": "--demo-zero-boot"}], indirect=True)


def row_of(admin: Person, port: int) -> Locator:
    return admin.page.locator(f'[data-port="{port}"]')


def button(admin: Person, port: int, key: str) -> Locator:
    return admin.page.get_by_role("button", name=admin.t(f"{key}_of", port=port), exact=True)


@QUICK
def test_an_admin_drains_a_card_and_puts_it_back(
    manager: ManagerProcess, people: People, language: str
) -> None:
    port = manager.ports[0]
    admin = first_admin(people, language)
    ann = new_user(people, admin, "ann", port)
    ann.starts()
    admin.goes("/admin")
    button(admin, port, "admin.reserved.drain").click()
    draining = admin.t("admin.reserved.draining", username="ann")
    expect(row_of(admin, port).get_by_text(draining)).to_be_visible()
    # What runs goes on, and its user knows what comes after.
    after = ann.t("user.reserved.after", card=ann.t("card.label", card=1))
    expect(ann.page.get_by_text(after)).to_be_visible()
    ann.headline("user.headline.running")
    ann.stops()
    ann.headline("user.headline.reserved")
    nobody = ann.t("user.reserved.nobody", card=ann.t("card.label", card=1))
    expect(ann.page.get_by_text(nobody)).to_be_visible()
    ann.button("user.line.join").click()
    ann.headline("user.headline.waiting")
    ann.sees("user.line.estimate.reserved")
    expect(row_of(admin, port).get_by_text(admin.t("admin.reserved.nobody"))).to_be_visible()
    for person in (admin, ann):
        person.page.set_viewport_size({"width": 360, "height": 740})
        person.has_no_sideways_scrolling()
    back = button(admin, port, "admin.reserved.put_back")
    back.focus()
    back.press("Enter")
    expect(button(admin, port, "admin.reserved.drain")).to_be_visible()
    ann.headline("user.headline.turn")
    ann.starts()
    for person in (admin, ann):
        person.has_no_complaints()


@QUICK
def test_an_admin_reserves_a_card_for_one(manager: ManagerProcess, people: People) -> None:
    port = manager.ports[0]
    admin = first_admin(people)
    ann, bob = new_user(people, admin, "ann"), new_user(people, admin, "bob", port)
    button(admin, port, "admin.reserved.reserve").click()
    dialog = admin.page.get_by_role("dialog", name=admin.t("admin.reserve.title", port=port))
    dialog.get_by_label(admin.t("admin.reserve.users"), exact=True).select_option("ann")
    dialog.get_by_label(admin.t("admin.reserve.reason"), exact=True).fill("a course")
    dialog.get_by_label(admin.t("admin.reserve.until"), exact=True).fill("2001-01-01T10:00")
    send = dialog.get_by_role("button", name=admin.t("admin.reserve.submit"), exact=True)
    send.click()
    expect(dialog.get_by_text(admin.t("error.bad_input.until"))).to_be_visible()
    dialog.get_by_label(admin.t("admin.reserve.until"), exact=True).fill("2037-01-01T10:00")
    send.click()
    expect(dialog).to_be_hidden()
    row = row_of(admin, port)
    expect(row.get_by_text(admin.t("admin.reserved.for", usernames="ann"))).to_be_visible()
    expect(row.get_by_text("a course")).to_be_visible()
    expect(
        ann.page.get_by_text(ann.t("user.reserved.mine", card=ann.t("card.label", card=1)))
    ).to_be_visible()
    # It is changed in place, so that nobody slips in between.
    button(admin, port, "admin.reserved.reserve").click()
    until = dialog.get_by_label(admin.t("admin.reserve.until"), exact=True)
    expect(until).to_have_value("2037-01-01T10:00")
    chosen = dialog.get_by_label(admin.t("admin.reserve.users"), exact=True)
    expect(chosen.locator("option:checked")).to_have_text(["ann"])
    send.click()
    expect(dialog).to_be_hidden()
    bob.headline("user.headline.reserved")
    expect(bob.page.get_by_text(bob.t("user.reserved.reason", reason="a course"))).to_be_visible()
    ann.starts()
    expect(row.get_by_text("ann", exact=True)).to_be_visible()
    for person in (ann, bob):
        person.has_no_complaints()
    admin.has_no_complaints("400 (BAD REQUEST)")


def set_limits(admin: Person, username: str, fill: Callable[[Locator], None]) -> None:
    name = admin.t("admin.limits.button_of", username=username)
    admin.page.get_by_role("button", name=name, exact=True).click()
    dialog = admin.page.get_by_role("dialog", name=admin.t("admin.limits.title", username=username))
    fill(dialog)
    dialog.get_by_role("button", name=admin.t("admin.limits.save"), exact=True).click()
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize(
    "manager", [{"COMFYUI_ARGS": "--demo-zero-boot", "DAY_LIMIT": "7200"}], indirect=True
)
def test_limits_are_set_for_a_user_and_said_to_him(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    ann = new_user(people, admin, "ann")
    field = {name: admin.t(f"admin.limits.{name}") for name in ("priority", "day", "session")}

    def two_hours_default(dialog: Locator) -> None:
        value = admin.t("common.hours", count="2.0")
        hint = admin.t("admin.limits.empty_hint", value=value)
        expect(dialog.get_by_text(hint)).to_be_visible()
        dialog.get_by_label(field["priority"], exact=True).select_option("high")
        # A second: over as soon as it runs.
        dialog.get_by_label(field["session"], exact=True).fill("0.0003")
        dialog.get_by_label(field["day"], exact=True).fill("0")

    set_limits(admin, "ann", two_hours_default)
    row = admin.page.locator("[data-user]").filter(has_text="ann")
    high = admin.t("admin.limits.priority.high")
    expect(row).to_contain_text(admin.t("admin.limits.summary.priority", value=high))
    expect(row).to_contain_text(admin.t("admin.limits.summary.day_none"))
    ann.page.get_by_role("button", name=ann.t("user.start")).click()
    ann.sees("user.end.time_limit")
    ann.sees("user.end.hint.time_limit")

    # He had a card for some seconds today, and a thousandth of an hour is less.
    set_limits(
        admin, "ann", lambda dialog: dialog.get_by_label(field["day"], exact=True).fill("0.0003")
    )
    ann.headline("user.headline.day_used")
    expect(ann.page.get_by_role("button", name=ann.t("user.start"))).to_be_hidden()
    ann.goes("/")
    ann.headline("user.headline.day_used")

    def nothing_for_now(dialog: Locator) -> None:
        dialog.get_by_label(admin.t("admin.limits.sessions"), exact=True).select_option("0")

    set_limits(admin, "ann", nothing_for_now)
    ann.headline("user.headline.no_sessions")
    for person in (admin, ann):
        person.page.set_viewport_size({"width": 360, "height": 740})
        person.has_no_sideways_scrolling()
        person.has_no_complaints()


@pytest.mark.parametrize(
    "manager",
    [{"COMFYUI_ARGS": "--demo-zero-boot", "LIMIT_GRACE": "1"}],
    indirect=True,
)
def test_who_is_over_his_time_is_told_and_works_on_behind_a_closed_workspace(
    manager: ManagerProcess, people: People
) -> None:
    admin = first_admin(people)
    ann = new_user(people, admin, "ann", manager.ports[0])
    ann.starts()
    workspace = Workspace(ann.link("user.open").get_attribute("href") or "")
    work = {"1": {"class_type": "Sleep", "inputs": {"seconds": 600}}}
    assert workspace.post("/prompt", {"prompt": work}).ok
    workspace.close()
    hours = admin.t("admin.limits.session")
    set_limits(admin, "ann", lambda dialog: dialog.get_by_label(hours, exact=True).fill("0.0003"))
    ann.sees("user.time.shut")
    expect(ann.link("user.open")).to_be_hidden()
    ann.headline("user.headline.running")
    over = admin.t("admin.time.shut", over="\0").split("\0")[1]
    expect(row_of(admin, manager.ports[0]).get_by_text(over)).to_be_visible()
    ann.goes("/")
    ann.sees("user.time.shut")
    # An admin may say that he has more time.
    set_limits(admin, "ann", lambda dialog: dialog.get_by_label(hours, exact=True).fill("0.2"))
    expect(ann.link("user.open")).to_be_visible()
    expect(ann.page.locator('[data-role="time-text"]')).to_contain_text("11:")
    for person in (admin, ann):
        person.has_no_complaints()
