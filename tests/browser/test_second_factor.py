"""Two-step login in a real browser: set up, asked for, lost and reset, in both languages."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from playwright.sync_api import expect

from tests.browser.test_whole_way import GIVEN, OWN, People
from tests.support import faces
from tests.support.browser import FIRST_PASSWORD, Person
from tests.support.phone import Phone
from tests.support.server import ManagerProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

REQUIRED = pytest.mark.parametrize(
    "manager", [{"rows": "1", "ADMIN_SECOND_FACTOR": "required"}], indirect=True
)
PAGE = "/account/second-factor"

LOOKED_AT: set[str] = set()
"""What axe-core has seen: it takes seconds, and both languages and everybody see the same pages."""


def looks_right(person: Person, what: str, within: str | None = None) -> None:
    """Expect room on a phone, and nothing for axe-core to find, once for each page."""
    if what not in LOOKED_AT:
        LOOKED_AT.add(what)
        assert faces.findings(person.page, within) == [], what
    desk = person.page.viewport_size
    person.page.set_viewport_size(faces.PHONE)
    person.has_no_sideways_scrolling()
    assert desk is not None
    person.page.set_viewport_size(desk)


def sets_up(person: Person) -> tuple[Phone, list[str]]:
    """Turn it on at the page that is open, by keyboard; give phone and recovery codes."""
    looks_right(person, "before")
    page = person.page
    expect(person.field("factor.password")).to_be_focused()
    page.keyboard.type(OWN)
    page.keyboard.press("Enter")
    picture = page.get_by_role("img", name=person.t("factor.setup.picture"))
    expect(picture).not_to_have_js_property("naturalWidth", 0)
    phone = Phone(str(person.link("factor.setup.here").get_attribute("href")))
    page.get_by_text(person.t("factor.setup.by_hand"), exact=True).click()
    expect(person.field("factor.setup.secret")).to_have_value(phone.totp.secret)
    looks_right(person, "the secret")
    person.field("factor.code").fill(phone.wrong_code())
    person.button("factor.setup.confirm").click()
    person.sees("error.bad_input.code")
    expect(person.field("factor.code")).to_be_focused()
    page.keyboard.type(phone.code())
    page.keyboard.press("Enter")
    person.headline("factor.made.title")
    looks_right(person, "recovery codes")
    return phone, keeps_recovery_codes(person)


def keeps_recovery_codes(person: Person) -> list[str]:
    """Copy them and load them down, and go on."""
    page = person.page
    shown = person.field("factor.made.codes").input_value()
    person.context.grant_permissions(["clipboard-read", "clipboard-write"])
    person.button("factor.made.copy").click()
    person.sees("common.copied")
    assert page.evaluate("navigator.clipboard.readText()") == shown
    with page.expect_download() as loaded:
        person.link("factor.made.download").click()
    assert loaded.value.suggested_filename == person.t("factor.made.file") + ".txt"
    assert shown in loaded.value.path().read_text(encoding="utf-8")
    person.link("factor.made.done").click()
    person.headline("account.title")
    expect(person.link("factor.change")).to_be_visible()
    codes = shown.split()
    assert len(codes) == 10
    person.goes(PAGE)
    assert codes[0] not in unquote(page.content())
    looks_right(person, "on")
    return codes


def logs_in(person: Person, code: str, *, recovery: bool = False) -> None:
    """Give the password, then a code."""
    person.log_in("ann", OWN)
    person.headline("factor.code.title")
    if recovery:
        person.page.get_by_text(person.t("factor.code.lost"), exact=True).click()
        looks_right(person, "the second step")
        person.field("factor.recovery").fill(code)
        person.button("factor.code.by_recovery").click()
    else:
        expect(person.field("factor.code")).to_be_focused()
        person.page.keyboard.type(code)
        person.page.keyboard.press("Enter")


def the_first_admin_is_led_there(admin: Person) -> None:
    admin.log_in("admin", FIRST_PASSWORD)
    admin.headline("password.forced_title")
    admin.field("password.old").fill(FIRST_PASSWORD)
    admin.field("password.new").fill(OWN)
    admin.field("password.repeat").fill(OWN)
    admin.button("password.submit").click()
    admin.sees("factor.forced")
    admin.goes("/admin")
    expect(admin.page).to_have_url(admin.manager.url + PAGE)
    expect(admin.link("nav.admin")).to_have_count(0)


@REQUIRED
def test_two_step_login_from_setup_to_reset(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = people(language, viewport=faces.DESK)
    the_first_admin_is_led_there(admin)
    admins, _ = sets_up(admin)
    admin.goes("/admin")
    admin.creates_user("ann", GIVEN)
    ann = people(language, viewport=faces.DESK)
    ann.comes_in("ann", GIVEN, OWN)
    ann.goes("/account")
    ann.link("factor.turn_on").click()
    phone, recovery = sets_up(ann)
    assert phone.label.endswith(":ann")
    assert phone.totp.secret != admins.totp.secret

    elsewhere = people(language, viewport=faces.DESK)
    used = phone.code()
    logs_in(elsewhere, used)
    elsewhere.headline("user.headline.idle")
    again = people(language, viewport=faces.DESK)
    logs_in(again, used)
    again.sees("error.not_authenticated.code")
    logs_in(again, recovery[0], recovery=True)
    again.headline("user.headline.idle")
    again.goes("/account")
    expect(again.page.get_by_text(again.t("factor.left", count=9))).to_be_visible()

    row = admin.page.get_by_role("row").filter(has_text="ann")
    expect(row.get_by_text(admin.t("admin.users.second_factor"), exact=True)).to_be_visible()
    looks_right(admin, "the users", "[data-people]")
    admin.button("admin.users.factor_of", username="ann").click()
    admin.agrees("admin.factor_confirm.yes")
    admin.sees("admin.factor_done", username="ann")
    expect(admin.button("admin.users.factor_of", username="ann")).to_be_hidden()
    fresh = people(language)
    fresh.log_in("ann", OWN)
    fresh.headline("user.headline.idle")

    admin.goes("/admin/audit")
    for action in ("second_factor_on", "second_factor_reset", "recovery_code_used"):
        said = admin.t(f"audit.action.{action}")
        expect(admin.page.get_by_role("cell", name=said, exact=True).first).to_be_visible()
    for person in (admin, ann, elsewhere, again, fresh):
        person.has_no_complaints("400", "401")
    log = manager.log_path.read_text(encoding="utf-8")
    for secret in (phone.totp.secret, used, *recovery):
        assert not re.search(rf"\b{secret}\b", log)


@pytest.mark.parametrize("manager", [{"rows": "1"}], indirect=True)
def test_it_is_renewed_and_taken_off_by_its_owner(manager: ManagerProcess, people: People) -> None:
    admin = people("en", viewport=faces.DESK)
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.goes(PAGE)
    phone, recovery = sets_up(admin)
    page = admin.page
    page.get_by_text(admin.t("factor.codes.title"), exact=True).click()
    form = page.locator("details[open]")
    form.get_by_label(admin.t("factor.password"), exact=True).fill(OWN)
    form.get_by_label(admin.t("factor.code"), exact=True).fill(recovery[1])
    admin.button("factor.codes.submit").click()
    admin.headline("factor.made.title")
    assert recovery[0] not in keeps_recovery_codes(admin)
    page.get_by_text(admin.t("factor.off.title"), exact=True).click()
    form = page.locator("details[open]")
    form.get_by_label(admin.t("factor.password"), exact=True).fill(OWN)
    form.get_by_label(admin.t("factor.code"), exact=True).fill(phone.wrong_code())
    admin.button("factor.off.submit").click()
    admin.sees("error.not_authenticated.code")
    looks_right(admin, "refused")
    form.get_by_label(admin.t("factor.password"), exact=True).fill(OWN)
    form.get_by_label(admin.t("factor.code"), exact=True).fill(phone.code())
    admin.button("factor.off.submit").click()
    admin.headline("account.title")
    expect(admin.link("factor.turn_on")).to_be_visible()
    looks_right(admin, "the account")
    fresh = people("en")
    fresh.log_in("admin", OWN)
    fresh.headline("user.headline.idle")
    for person in (admin, fresh):
        person.has_no_complaints("401", "400")
