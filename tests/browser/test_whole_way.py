"""The main job in real browsers, in both languages: from the first login to the stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.support.browser import FIRST_PASSWORD, Person
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

OWN = "a password of my own"
GIVEN = "given by the admin"

People = Callable[..., Person]


def first_admin(people: People, language: str = "en") -> Person:
    admin = people(language)
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    return admin


def new_user(people: People, admin: Person, name: str, port: int | None = None) -> Person:
    admin.goes("/admin")
    admin.creates_user(name, GIVEN, port)
    user = people(admin.language)
    user.comes_in(name, GIVEN, OWN)
    return user


def test_from_first_login_to_stop(manager: ManagerProcess, people: People, language: str) -> None:
    admin = first_admin(people, language)
    admin.link("nav.admin").click()
    admin.sees("demo.title")
    ann = new_user(people, admin, "ann", manager.ports[0])
    bob = new_user(people, admin, "bob")
    expect(ann.link("nav.admin")).to_have_count(0)

    ann.headline("user.headline.idle")
    ann.page.get_by_role("button", name=ann.t("user.start")).click()
    ann.headline("user.headline.starting")
    stages = ann.page.get_by_role("list", name=ann.t("user.stages"))
    expect(stages.get_by_text(ann.t("user.stage.loading"))).to_be_visible()
    ann.headline("user.headline.running")
    bob.starts()

    row = admin.page.get_by_role("row").filter(has_text=str(manager.ports[0]))
    expect(row.filter(has_text="ann").filter(has_text=admin.t("state.running"))).to_be_visible()

    tab = ann.opens_workspace()
    expect(tab).to_have_url(f"http://127.0.0.1:{manager.workspace_ports[0]}/")
    expect(tab.get_by_text("ComfyUI").first).to_be_visible()

    foreign = ann.link("user.open").get_attribute("href") or ""
    other_port = foreign.replace(str(manager.workspace_ports[0]), str(manager.workspace_ports[1]))
    for address in (other_port, f"http://127.0.0.1:{manager.workspace_ports[1]}/"):
        answer = ann.context.request.get(address)
        assert answer.status == 403, address

    ann.stops()
    ann.sees("user.end.user")
    assert ann.context.request.get(foreign).status == 403
    bob.headline("user.headline.running")
    for person in (admin, ann, bob):
        person.has_no_complaints()


@pytest.mark.parametrize("manager", [{"IDLE_TIMEOUT": "3"}], indirect=True)
def test_an_idle_instance_is_ended_and_the_page_says_why(
    manager: ManagerProcess, people: People
) -> None:
    admin = first_admin(people)
    admin.starts()
    expect(admin.page.get_by_role("progressbar", name=admin.t("user.idle.bar"))).to_be_visible()
    admin.sees("user.end.idle", minutes=1)
    admin.headline("user.headline.idle")
    admin.has_no_complaints()


@pytest.mark.parametrize(
    "manager", [{"COMFYUI_ARGS": "--demo-zero-boot --demo-exit-at-start 3"}], indirect=True
)
def test_a_crash_is_shown_with_its_last_lines(manager: ManagerProcess, people: People) -> None:
    admin = first_admin(people)
    admin.page.get_by_role("button", name=admin.t("user.start")).click()
    admin.headline("user.headline.failed")
    admin.sees("user.end.died")
    expect(admin.page.get_by_text("RuntimeError").first).to_be_visible()
    admin.has_no_complaints()


@pytest.mark.parametrize(
    "manager",
    [{"COMFYUI_ARGS": "--demo-zero-boot --demo-crash-after 1", "RESTART_POLICY": "on-crash"}],
    indirect=True,
)
def test_a_crash_says_why_and_its_restart_can_be_called_off(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    ann = new_user(people, admin, "ann", manager.ports[0])
    ann.page.get_by_role("button", name=ann.t("user.start")).click()
    ann.headline("user.headline.failed")
    ann.sees("fault.python_error")
    ann.sees("fault.hint.python_error")
    line = "RuntimeError: demo crash, as asked by --demo-crash-after"
    expect(ann.page.get_by_text(line, exact=True)).to_be_visible()
    row = admin.page.get_by_role("row").filter(has_text=str(manager.ports[0]))
    expect(row.get_by_text(admin.t("fault.python_error"))).to_be_visible()
    expect(row.get_by_text(line)).to_be_visible()
    ann.button("user.restart.cancel").click()
    expect(ann.button("user.restart.cancel")).to_be_hidden()
    ann.has_no_sideways_scrolling()
    for person in (admin, ann):
        person.has_no_complaints()


@pytest.mark.parametrize(
    "manager",
    [{"COMFYUI_ARGS": "--demo-zero-boot --demo-hang-http 1", "HANG_TIMEOUT": "2"}],
    indirect=True,
)
def test_a_hang_is_shown_to_user_and_admin(manager: ManagerProcess, people: People) -> None:
    admin = first_admin(people)
    ann = new_user(people, admin, "ann", manager.ports[0])
    ann.starts()
    expect(ann.page.get_by_text("Not responding since")).to_be_visible()
    row = admin.page.get_by_role("row").filter(has_text=str(manager.ports[0]))
    expect(row.get_by_text("not responding since")).to_be_visible()
    ann.headline("user.headline.running")
    ann.has_no_complaints()


@pytest.mark.parametrize("manager", [{"rows": "1"}], indirect=True)
def test_who_finds_a_full_house_waits_in_line_until_it_is_his_turn(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    ann = new_user(people, admin, "ann")
    admin.goes("/")
    admin.starts()
    ann.headline("user.headline.full")
    expect(ann.page.get_by_role("button", name=ann.t("user.start"))).to_be_hidden()
    ann.button("user.line.join").click()
    ann.headline("user.headline.waiting")
    ann.sees("user.line.place", place=1, total=1)
    ann.button("user.line.leave").click()
    ann.headline("user.headline.full")
    ann.button("user.line.join").click()
    ann.headline("user.headline.waiting")

    admin.stops()
    ann.headline("user.headline.turn")
    admin.headline("user.headline.full")
    ann.starts()
    for person in (admin, ann):
        person.has_no_complaints()


@pytest.mark.parametrize("manager", [{"rows": "1"}], indirect=True)
def test_who_clicks_too_late_is_offered_the_line(
    manager: ManagerProcess, people: People, language: str
) -> None:
    admin = first_admin(people, language)
    ann = new_user(people, admin, "ann")
    admin.goes("/")
    # What ann's page shows is out of date: her browser hears nothing and her click comes too late.
    ann.page.route_web_socket("**/socket.io/**", lambda _: None)
    ann.goes("/")
    ann.headline("user.headline.idle")
    admin.starts()
    ann.page.get_by_role("button", name=ann.t("user.start")).click()
    ann.headline("user.headline.full")
    ann.button("user.line.join").click()
    ann.headline("user.headline.waiting")


def test_an_admin_stops_and_reads_and_disables(manager: ManagerProcess, people: People) -> None:
    admin = first_admin(people)
    ann = new_user(people, admin, "ann", manager.ports[0])
    ann.starts()

    admin.button("admin.ports.log", port=manager.ports[0]).click()
    dialog = admin.page.get_by_role("dialog")
    expect(dialog.get_by_text("Demo").first).to_be_visible()
    dialog.get_by_role("button", name=admin.t("common.close"), exact=True).click()

    admin.button("admin.ports.stop", port=manager.ports[0]).click()
    admin.agrees("admin.ports.stop_confirm.yes")
    ann.sees("user.end.admin")

    ann.page.get_by_role("button", name=ann.t("user.start_again")).click()
    ann.headline("user.headline.running")
    admin.button("admin.users.disable_of", username="ann").click()
    admin.agrees("admin.disable_confirm.yes")
    expect(ann.page).to_have_url(f"{manager.url}/login")
    expect(admin.button("admin.users.enable_of", username="ann")).to_be_visible()
    row = admin.page.get_by_role("row").filter(has_text=str(manager.ports[0]))
    expect(row.filter(has_text=admin.t("state.idle"))).to_be_visible()

    admin.button("admin.users.delete_of", username="ann").click()
    admin.agrees("admin.delete_confirm.yes")
    expect(admin.button("admin.users.delete_of", username="ann")).to_have_count(0)
    admin.has_no_complaints()
    ann.has_no_complaints("401")


def test_a_reset_password_lets_in_once_more(manager: ManagerProcess, people: People) -> None:
    admin = first_admin(people)
    ann = new_user(people, admin, "ann")
    admin.button("admin.users.reset_of", username="ann").click()
    admin.agrees("admin.reset_confirm.yes")
    title = admin.t("admin.reset_done.title", username="ann")
    shown = admin.page.get_by_role("textbox", name=title).input_value()
    expect(ann.page).to_have_url(f"{manager.url}/login")
    ann.comes_in("ann", shown, "one more of my own")
    admin.has_no_complaints()


def test_a_lost_connection_heals(manager: ManagerProcess, people: People) -> None:
    admin = first_admin(people)
    admin.starts()
    assert manager.run("stop", "--keep-instances").returncode == 0
    admin.sees("common.reconnecting")
    manager.start()
    expect(admin.page.get_by_text(admin.t("common.reconnecting"))).to_be_hidden()
    admin.stops()
    admin.sees("user.end.user")
    assert admin.page.url == f"{manager.url}/", "still logged in"


def test_everything_is_reached_by_keyboard(manager: ManagerProcess, people: People) -> None:
    admin = first_admin(people)
    # Chromium gives the target of a jump the focus once more when the page has loaded.
    admin.page.wait_for_load_state("load")
    keyboard = admin.page.keyboard
    keyboard.press("Tab")
    expect(admin.link("common.skip")).to_be_focused()
    keyboard.press("Enter")
    expect(admin.page.get_by_role("main")).to_be_focused()
    keyboard.press("Tab")
    expect(admin.page.get_by_role("button", name=admin.t("user.start"))).to_be_focused()
    keyboard.press("Enter")
    admin.headline("user.headline.running")
    admin.button("user.stop").focus()
    keyboard.press("Enter")
    dialog = admin.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    admin.headline("user.headline.running")


def test_a_wrong_password_is_said_and_then_waited_for(
    manager: ManagerProcess, people: People
) -> None:
    visitor = people()
    for _ in range(7):
        visitor.log_in("admin", "wrong")
        expect(visitor.page.get_by_role("alert")).to_be_visible()
    expect(visitor.page.get_by_role("timer")).to_contain_text("You can try again in")


def test_a_page_without_scripts_starts_and_stops(manager: ManagerProcess, people: People) -> None:
    admin = people(java_script_enabled=False)
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.sees("common.no_script")
    admin.page.get_by_role("button", name=admin.t("user.start")).click()
    expect(admin.page.get_by_role("heading", level=1)).not_to_have_text(
        admin.t("user.headline.idle")
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_small_phone(
    manager: ManagerProcess, people: People, language: str, scheme: str
) -> None:
    admin = people(language, color_scheme=scheme, viewport={"width": 360, "height": 740})
    admin.goes("/login")
    admin.has_no_sideways_scrolling()
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.has_no_sideways_scrolling()
    admin.starts()
    admin.has_no_sideways_scrolling()
    for path in ("/admin", "/password"):
        admin.goes(path)
        admin.has_no_sideways_scrolling()
    admin.has_no_complaints()
