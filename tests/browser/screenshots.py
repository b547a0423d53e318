"""Pictures for the README: ``python -m tests.browser.screenshots`` writes docs/screenshots/*.png.

Runs a manager of its own with the demo in place of ComfyUI, and stages one small scene.
"""

from __future__ import annotations

import os
import re
import socket
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from demo.images import Picture, draw
from manager.ports import DEFAULT_PORTS
from tests.browser.screenshots_states import LANGUAGES, keep_states
from tests.support import faces
from tests.support.browser import FIRST_PASSWORD, Person, chromium
from tests.support.card_tools import Npu, NpuSmi
from tests.support.server import LOOPBACK, ROOT, ManagerProcess

FOLDER = ROOT / "docs" / "screenshots"
OWN, GIVEN = "a password of my own", "given by the admin"
SIZE = {"width": 1200, "height": 760}
PHONE = {"width": 360, "height": 740}
SMALL = {"width": 800, "height": 460}
PICTURES = [(f"a {what} in the evening", 7 * n) for n, what in enumerate(("hill", "lake", "boat"))]
STATES = {"noor": "en", "小明": "zh_CN"}
"""Two who come when their card is taken, and their languages."""

PAGES = {
    "wall": "/wall",
    "charts": "/charts",
    "settings": "/settings",
    "audit": "/admin/audit",
    "tokens": "/admin/tokens",
    "password": "/password",
    "not-found": "/nowhere",
}
"""The admins' other pages, and those that everybody has, by the picture's name."""

LONG = ("settings", "audit")
"""Of these the beginning says enough."""

COLOURS = 128
"""Kept in each picture: flat pages lose nothing and shrink to a third."""


def main() -> None:
    """Play the scene and keep the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as tools,
        tempfile.TemporaryDirectory() as folder,
        ManagerProcess(
            Path(folder), rows=4, table=_shipped_table(), settings=_cards(Path(tools))
        ) as manager,
        sync_playwright() as playwright,
        chromium(playwright) as browser,
    ):
        for language, suffix in (("en", "en"), ("zh_CN", "zh")):
            login = _person(browser, manager, language)
            login.goes("/login")
            _keep(login, f"login-{suffix}")
        _scene(browser, manager)
        lookers = {language: _person(browser, manager, language) for language in LANGUAGES}
        for looker in lookers.values():
            looker.log_in("admin", OWN)
        keep_states(lookers, FOLDER / "states", _keep)


def _cards(folder: Path) -> dict[str, str]:
    """Make four idle cards and give the settings that find them."""
    tool = NpuSmi(folder / "tool")
    tool.shows([Npu(0), Npu(1), Npu(2), Npu(3)])
    return {
        "CARD_KIND": "ascend",
        "CARD_SAMPLE_INTERVAL": "1",
        # A busy machine that makes pictures is no part of them.
        "BUSY_SLOWDOWN": "1",
        **tool.env,
    }


def _shipped_table() -> list[tuple[int, int, int]] | None:
    """Give the ports that a reader will have, unless something uses them here."""
    table = [(row.port, row.external_port, row.workspace_port) for row in DEFAULT_PORTS]
    try:
        for port in (port for row in table for port in row):
            with socket.socket() as probe:
                probe.bind((LOOPBACK, port))
    except OSError:
        return None
    return table


def _person(
    browser: Browser, manager: ManagerProcess, language: str = "en", **context: Any
) -> Person:
    return Person(browser, manager, language, **{"viewport": SIZE, **context})


def _scene(browser: Browser, manager: ManagerProcess) -> None:
    admin = _person(browser, manager)
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.goes("/admin")
    users = {}
    for name, port in (("lin", manager.ports[0]), ("maria", manager.ports[1]), ("王芳", None)):
        admin.creates_user(name, GIVEN, port)
        users[name] = _person(browser, manager)
        users[name].comes_in(name, GIVEN, OWN)
        users[name].starts()
    lin = users["lin"]
    _pictures(manager, lin)
    tab = lin.opens_workspace()
    tab.screenshot(path=str(FOLDER / "workspace-demo.png"))
    _shrink(FOLDER / "workspace-demo.png")
    tab.close()
    users["王芳"].stops()
    expect(lin.page.get_by_text(re.compile("No (work|job) for"))).to_be_visible()
    _wait_for_pictures(lin)
    _keep(lin, "user-running-en")
    for language, suffix, scheme in (("zh_CN", "zh", "light"), ("zh_CN", "zh-phone", "dark")):
        viewport = PHONE if "phone" in suffix else SIZE
        again = _person(browser, manager, language, color_scheme=scheme, viewport=viewport)
        again.log_in("lin", OWN)
        again.headline("user.headline.running")
        _wait_for_pictures(again)
        _keep(again, f"user-running-{suffix}")
    _gallery_and_account(browser, manager)
    _gates(browser, manager)
    _keep_admin(admin, "admin-en")
    chinese = _person(browser, manager, "zh_CN")
    chinese.log_in("admin", OWN)
    chinese.headline("user.headline.idle")
    chinese.goes("/admin")
    _keep_admin(chinese, "admin-zh")
    for person, suffix in ((admin, "en"), (chinese, "zh")):
        for name, path in PAGES.items():
            person.goes(path)
            if name == "wall":
                expect(person.page.get_by_text(person.t("wall.live"), exact=True)).to_be_visible()
            if name == "charts":
                expect(person.page.locator("canvas").first).to_be_visible()
            _keep(person, f"{name}-{suffix}", whole=name not in LONG)
    _states(browser, manager, chinese)


def _states(browser: Browser, manager: ManagerProcess, admin: Person) -> None:
    """Show what a user sees before a start, in line and under maintenance, in both languages."""
    people = {name: _person(browser, manager, language) for name, language in STATES.items()}
    for name in STATES:
        admin.goes("/admin")
        admin.creates_user(name, GIVEN, manager.ports[0])
    for name, person in people.items():
        suffix = {"en": "en", "zh_CN": "zh"}[STATES[name]]
        person.comes_in(name, GIVEN, OWN)
        _keep(person, f"user-full-{suffix}")
        person.button("user.line.join").click()
        person.headline("user.headline.waiting")
        _keep(person, f"user-line-{suffix}")


def _pictures(manager: ManagerProcess, lin: Person) -> None:
    """Let lin's workflows have saved some pictures, and show them."""
    (output,) = (manager.data_dir / "workspaces").glob("*-lin-*/output")
    owner = output.stat()
    for number, (text, seed) in enumerate(PICTURES):
        path = output / f"{text.split()[1]}_{number:05}_.png"
        draw(Picture(512, 512, text, seed)).save(path)
        os.chown(path, owner.st_uid, owner.st_gid)
    lin.goes("/")
    lin.headline("user.headline.running")


def _wait_for_pictures(person: Person) -> None:
    faces.wait_for_pictures(person.page.locator("[data-picture] img"))
    person.page.evaluate("scrollTo(0, 0)")


def _gallery_and_account(browser: Browser, manager: ManagerProcess) -> None:
    """Show one picture by itself and the account, in both languages."""
    for language, suffix in (("en", "en"), ("zh_CN", "zh")):
        again = _person(browser, manager, language)
        again.log_in("lin", OWN)
        again.headline("user.headline.running")
        _wait_for_pictures(again)
        again.page.locator("[data-picture] a").first.click()
        expect(again.page.get_by_role("dialog").get_by_role("img")).to_be_visible()
        _keep(again, f"picture-{suffix}", whole=False)
        again.goes("/account")
        _keep(again, f"account-{suffix}")


def _gates(browser: Browser, manager: ManagerProcess) -> None:
    """Show what a gate says to who has no key, an old link, a cookie of before."""
    row = manager.ports[3]
    address = f"http://{LOOPBACK}:{manager.workspace_ports[3]}/"
    for language, suffix in (("en", "en"), ("zh_CN", "zh")):
        for kind, query in (("closed", ""), ("denied", f"?token_{row}=old"), ("ended", "")):
            stranger = _person(browser, manager, language, viewport=SMALL)
            if kind == "ended":
                name = f"token_{row}"
                stranger.context.add_cookies([{"name": name, "value": "once", "url": address}])
            stranger.page.goto(address + query)
            stranger.headline(f"gate.{kind}.title")
            _keep(stranger, f"gate-{kind}-{suffix}")


def _keep_admin(person: Person, name: str) -> None:
    # Paths of the machine that made the picture say nothing to a reader.
    person.page.locator("[data-demo]").evaluate("banner => banner.remove()")
    folds = person.page.locator("details[open]")
    folds.evaluate_all("folds => folds.forEach((fold) => fold.removeAttribute('open'))")
    _keep(person, name)


def _keep(person: Person, name: str, *, whole: bool = True) -> None:
    person.page.wait_for_load_state("load")
    # Toasts leave after five seconds.
    expect(person.page.locator(".toast")).to_have_count(0)
    path = FOLDER / f"{name}.png"
    person.screenshot(path, whole=whole)
    _shrink(path)


def _shrink(path: Path) -> None:
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
