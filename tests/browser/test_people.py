"""People and service in real browsers: new users, many at once, search, notices, maintenance."""

from __future__ import annotations

import csv
import io
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.browser.conftest import PICTURES
from tests.browser.test_whole_way import GIVEN, OWN
from tests.support.browser import Person
from tests.support.client import ADMIN_PASSWORD, USER_PASSWORD, Client, first_admin, new_user
from tests.support.faces import PHONE
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

QUICK = {"COMFYUI_ARGS": "--demo-zero-boot"}
TABLE = "\ufeffusername;assigned_port\nJürgen-{0};\n李雷-{0};{1}\nzoe-{0};\n"
WRONG = "username,assigned_port\n.bad,\nadmin,\nkim,99\n=cmd(),\n"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    folder = tmp_path_factory.mktemp("people") / "manager"
    with ManagerProcess(folder, rows=1, settings=QUICK) as running:
        first_admin(running).close()
        yield running


@pytest.fixture
def people(
    browser: Browser, manager: ManagerProcess, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Person]]:
    """Make people with browsers of their own, logged in, and close them at the end."""
    everybody: list[Person] = []

    def make(language: str, name: str, password: str = USER_PASSWORD) -> Person:
        person = Person(browser, manager, language)
        everybody.append(person)
        person.log_in(name, password)
        return person

    failed_before = request.session.testsfailed
    yield make
    for number, person in enumerate(everybody):
        if request.session.testsfailed > failed_before:
            person.screenshot(PICTURES / f"{request.node.name}-{number}.png")
        person.context.close()


def admin_of(people: Callable[..., Person], language: str) -> Person:
    admin = people(language, "admin", ADMIN_PASSWORD)
    admin.headline("user.headline.idle")
    admin.goes("/admin")
    return admin


def user_of(people: Callable[..., Person], manager: ManagerProcess, language: str) -> Person:
    """Give somebody of this language, with an account of his own."""
    name = f"ann-{language.lower()}"
    with Client(manager, "admin", ADMIN_PASSWORD) as admin:
        if name not in {one["username"] for one in admin.get("/api/admin/overview")["users"]}:
            new_user(admin, name).close()
    return people(language, name)


def row_of(admin: Person, name: str) -> Locator:
    return admin.page.locator("[data-user]").filter(
        has=admin.page.locator('[data-field="username"]', has_text=re.compile(f"^{name}$"))
    )


def names(admin: Person) -> Locator:
    return admin.page.locator('[data-role="users"] [data-field="username"]')


def dialog(admin: Person, key: str) -> Locator:
    return admin.page.get_by_role("dialog", name=admin.t(key), exact=True)


def press(place: Locator, admin: Person, key: str, **params: object) -> None:
    place.get_by_role("button", name=admin.t(key, **params), exact=True).click()


def test_a_user_is_added_found_disabled_and_brought_back(
    manager: ManagerProcess, people: Callable[..., Person], language: str
) -> None:
    admin = admin_of(people, language)
    name = f"müller-{language.lower()}"
    admin.creates_user(name, GIVEN)
    expect(row_of(admin, name)).to_be_visible()
    total = names(admin).count()
    admin.field("admin.users.search").fill(name.upper())
    count = admin.page.locator('[data-role="count"]')
    expect(count).to_have_text(admin.t("admin.users.found", found=1, count=total))
    expect(row_of(admin, "admin")).to_have_count(0)
    admin.field("admin.users.search").fill("nobody at all")
    admin.sees("admin.users.nobody")
    admin.field("admin.users.search").fill("")
    head = admin.page.locator('th[data-sort="name"]')
    before = names(admin).all_text_contents()
    head.get_by_role("button").press("Enter")
    expect(head).to_have_attribute("aria-sort", "descending")
    expect(names(admin)).to_have_text(before[::-1])
    # What comes by itself takes the reader's place from nobody.
    toggle = admin.button("admin.users.disable_of", username=name)
    toggle.focus()
    with Client(manager, "admin", ADMIN_PASSWORD) as other:
        table = f"username\naaa-{language.lower()}\n"
        other.post("/api/admin/people/table", {"table": table, "dry_run": False})
    expect(row_of(admin, f"aaa-{language.lower()}")).to_be_visible()
    expect(toggle).to_be_focused()
    # At once, as nothing is lost by it; and back again.
    toggle.click()
    expect(row_of(admin, name)).to_contain_text(admin.t("admin.users.disabled"))
    press(admin.page.locator(".toast"), admin, "common.undo")
    expect(row_of(admin, name)).to_contain_text(admin.t("admin.users.active"))
    admin.page.get_by_label(admin.t("admin.users.choose_of", username=name), exact=True).check()
    bar = admin.page.locator('[data-role="chosen-bar"]')
    expect(bar).to_contain_text(admin.t("admin.users.chosen", count=1))
    press(bar, admin, "admin.limits.button")
    limits = dialog_of_limits(admin)
    limits.get_by_label(admin.t("admin.limits.priority"), exact=True).select_option("high")
    press(limits, admin, "admin.limits.save")
    high = admin.t("admin.limits.priority.high")
    expect(row_of(admin, name)).to_contain_text(
        admin.t("admin.limits.summary.priority", value=high)
    )
    press(bar, admin, "admin.users.choose_none")
    expect(bar).to_be_hidden()
    admin.page.set_viewport_size(PHONE)
    admin.has_no_sideways_scrolling()
    admin.has_no_complaints()


def dialog_of_limits(admin: Person) -> Locator:
    return admin.page.get_by_role(
        "dialog", name=admin.t("admin.limits.title_some", count=1), exact=True
    )


def test_many_are_made_from_a_table_and_come_in(
    manager: ManagerProcess, people: Callable[..., Person], language: str
) -> None:
    admin = admin_of(people, language)
    mark = language.lower()
    admin.button("admin.import.button").click()
    asked = dialog(admin, "admin.import.title")
    asked.get_by_label(admin.t("admin.import.text"), exact=True).fill(WRONG)
    press(asked, admin, "admin.import.look")
    problems = asked.locator('[data-role="problems"] li')
    expect(problems).to_have_count(4)
    said = admin.t("error.bad_input.table_there", username="admin")
    expect(problems.nth(1)).to_have_text(admin.t("admin.import.problem", line=3, text=said))
    press(asked, admin, "admin.import.back")
    table = TABLE.format(mark, manager.ports[0]).encode()
    asked.get_by_label(admin.t("admin.import.file"), exact=True).set_input_files(
        {"name": "class.csv", "mimeType": "text/csv", "buffer": table}
    )
    press(asked, admin, "admin.import.look")
    expect(asked.get_by_role("row").filter(has_text=f"李雷-{mark}")).to_contain_text(
        str(manager.ports[0])
    )
    press(asked, admin, "admin.import.make", count=3)
    admin.sees("admin.import.once")
    # What nobody has taken is not thrown away by a key.
    admin.page.keyboard.press("Escape")
    sure = dialog(admin, "admin.import.lose.title")
    press(sure, admin, "common.cancel")
    with admin.page.expect_download() as taken:
        asked.get_by_role("link", name=admin.t("admin.import.download")).click()
    text = Path(taken.value.path()).read_text(encoding="utf-8-sig")
    made = {row["username"]: row["password"] for row in csv.DictReader(io.StringIO(text))}
    assert set(made) == {f"Jürgen-{mark}", f"李雷-{mark}", f"zoe-{mark}"}
    press(asked, admin, "common.close")
    expect(asked).to_be_hidden()
    assert made[f"zoe-{mark}"] not in admin.page.content()
    expect(row_of(admin, f"zoe-{mark}")).to_contain_text(admin.t("admin.users.must_change"))
    zoe = people(language, f"zoe-{mark}", made[f"zoe-{mark}"])
    zoe.sets_own_password(made[f"zoe-{mark}"], OWN)
    zoe.headline("user.headline.idle")
    log = Path(manager.env["LOG_PATH"]).read_text(encoding="utf-8")
    assert not [one for one in made.values() if one in log]
    for person in (admin, zoe):
        person.has_no_complaints()


def test_an_announcement_reaches_open_pages_and_is_put_away(
    manager: ManagerProcess, people: Callable[..., Person], language: str
) -> None:
    admin = admin_of(people, language)
    ann = user_of(people, manager, language)
    ann.goes("/account")
    told = {}
    for level in ("notice", "warning"):
        told[level] = f"<b>{level}</b> {language}"
        admin.button("admin.service.announce").click()
        asked = dialog(admin, "admin.announce.title")
        # In the other language alone: everybody reads it all the same.
        other = "en" if language == "zh_CN" else "zh"
        asked.get_by_label(admin.t(f"admin.announce.text.{other}"), exact=True).fill(told[level])
        asked.get_by_label(admin.t("admin.announce.level"), exact=True).select_option(level)
        press(asked, admin, "admin.announce.submit")
        expect(ann.page.get_by_text(told[level], exact=True)).to_be_visible()
    expect(admin.page.locator("[data-notices]")).to_contain_text(told["warning"])
    away = ann.button("notices.put_away")
    expect(away).to_have_count(1)
    away.focus()
    ann.page.keyboard.press("Enter")
    expect(ann.page.get_by_text(told["notice"], exact=True)).to_have_count(0)
    for path in ("/", "/password"):
        ann.goes(path)
        expect(ann.page.locator("[data-announcement]")).to_have_text([re.compile(told["warning"])])
    for person in (admin, ann):
        person.page.set_viewport_size(PHONE)
        person.has_no_sideways_scrolling()
    for text in told.values():
        admin.page.locator("[data-told]").filter(has_text=text).get_by_role("button").click()
        expect(admin.page.locator("[data-told]").filter(has_text=text)).to_have_count(0)
    expect(ann.page.locator("[data-notices]")).to_be_hidden()
    for person in (admin, ann):
        person.has_no_complaints()


def test_maintenance_is_explained_and_the_line_goes_on_after_it(
    manager: ManagerProcess, people: Callable[..., Person], language: str
) -> None:
    admin = admin_of(people, language)
    ann = user_of(people, manager, language)
    ann.headline("user.headline.idle")
    admin.button("admin.service.maintain").click()
    asked = dialog(admin, "admin.maintain.title")
    asked.get_by_label(admin.t("admin.maintain.reason"), exact=True).fill("New fans")
    asked.get_by_label(admin.t("admin.maintain.until"), exact=True).fill("2037-01-01T10:00")
    press(asked, admin, "admin.maintain.submit")
    admin.sees("admin.service.empty")
    ann.headline("user.headline.maintenance")
    told = ann.page.locator("[data-notices]")
    expect(told).to_contain_text("New fans")
    expect(told).to_contain_text("2037")
    expect(ann.page.get_by_role("button", name=ann.t("user.start"))).to_be_hidden()
    ann.button("user.line.join").click()
    ann.sees("user.line.estimate.maintenance")
    ann.page.reload()
    ann.sees("user.line.estimate.maintenance")
    admin.button("admin.service.resume").click()
    ann.headline("user.headline.turn")
    expect(told).to_be_hidden()
    ann.starts()
    ann.stops()
    ann.headline("user.headline.idle")
    # From the command line it reaches open pages just as well.
    for act, headline in (("on", "maintenance"), ("off", "idle")):
        words = [*manager.program, "maintenance", act]
        subprocess.run(words, env=manager.env, check=True, stdout=subprocess.DEVNULL, timeout=60)
        ann.headline(f"user.headline.{headline}")
    for person in (admin, ann):
        person.has_no_complaints()
