"""The manager's own HTTPS in a browser: HTTP/2, live pages, a workspace, and a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.browser import FIRST_PASSWORD, Person
from tests.support.server import ManagerProcess

pytestmark = pytest.mark.browser

ADMIN_PASSWORD = "an admin's password"


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManagerProcess]:
    settings = {"TLS": "internal", "COMFYUI_ARGS": "--demo-zero-boot"}
    with ManagerProcess(tmp_path_factory.mktemp("https"), settings=settings) as running:
        yield running


def test_a_person_works_by_https_and_waits_out_a_restart(
    manager: ManagerProcess, browser: Browser
) -> None:
    # Whom to trust is the client's matter here: tests with the root certificate are elsewhere.
    person = Person(browser, manager, "en", ignore_https_errors=True)
    person.page.goto(manager.url.replace("https", "http"))
    expect(person.page).to_have_url(f"{manager.url}/login")
    person.comes_in("admin", FIRST_PASSWORD, ADMIN_PASSWORD)
    protocol = "performance.getEntriesByType('navigation')[0].nextHopProtocol"
    assert person.page.evaluate(protocol) == "h2"
    person.starts()
    tab = person.opens_workspace()
    assert tab.url.startswith(f"https://127.0.0.1:{manager.workspace_ports[0]}/")
    expect(tab.locator("body")).to_be_visible()
    person.goes("/admin")
    panel = person.page.locator("#https")
    panel.locator("summary").click()
    with person.page.expect_download() as download:
        panel.get_by_role("link", name=person.t("admin.https.get")).click()
    assert Path(download.value.path()).read_bytes() == Path(str(manager.trusted)).read_bytes()
    person.has_no_complaints()

    manager.kill()
    person.page.goto(f"{manager.url}/account")
    person.headline("gate.restarting.title")
    manager.start()
    expect(person.page.get_by_role("heading", level=1)).to_have_text(person.t("account.title"))
    person.context.close()
