"""Pictures for the README: ``python -m tests.browser.screenshots`` writes docs/screenshots/*.png.

Runs a manager of its own with the demo in place of ComfyUI, and stages one small scene.
"""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from manager.ports import DEFAULT_PORTS
from tests.support.browser import FIRST_PASSWORD, Person, chromium
from tests.support.card_tools import Npu, NpuSmi
from tests.support.server import LOOPBACK, ROOT, ManagerProcess

FOLDER = ROOT / "docs" / "screenshots"
OWN, GIVEN = "a password of my own", "given by the admin"
SIZE = {"width": 1200, "height": 760}
PHONE = {"width": 360, "height": 740}
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


def _cards(folder: Path) -> dict[str, str]:
    """Make four idle cards and give the settings that find them."""
    tool = NpuSmi(folder / "tool")
    tool.shows([Npu(0), Npu(1), Npu(2), Npu(3)])
    return {"CARD_KIND": "ascend", "CARD_SAMPLE_INTERVAL": "1", **tool.env}


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
    tab = lin.opens_workspace()
    tab.screenshot(path=str(FOLDER / "workspace-demo.png"))
    _shrink(FOLDER / "workspace-demo.png")
    tab.close()
    users["王芳"].stops()
    expect(lin.page.get_by_text("No work for")).to_be_visible()
    _keep(lin, "user-running-en")
    for language, suffix, scheme in (("zh_CN", "zh", "light"), ("zh_CN", "zh-phone", "dark")):
        viewport = PHONE if "phone" in suffix else SIZE
        again = _person(browser, manager, language, color_scheme=scheme, viewport=viewport)
        again.log_in("lin", OWN)
        again.headline("user.headline.running")
        _keep(again, f"user-running-{suffix}")
    _keep_admin(admin, "admin-en")
    chinese = _person(browser, manager, "zh_CN")
    chinese.log_in("admin", OWN)
    chinese.headline("user.headline.idle")
    chinese.goes("/admin")
    _keep_admin(chinese, "admin-zh")


def _keep_admin(person: Person, name: str) -> None:
    # The path of a temporary folder says nothing to a reader.
    person.page.locator("[data-demo]").evaluate("banner => banner.remove()")
    _keep(person, name)


def _keep(person: Person, name: str) -> None:
    person.page.wait_for_load_state("load")
    # Toasts leave after five seconds.
    expect(person.page.locator(".toast")).to_have_count(0)
    path = FOLDER / f"{name}.png"
    person.screenshot(path)
    _shrink(path)


def _shrink(path: Path) -> None:
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
