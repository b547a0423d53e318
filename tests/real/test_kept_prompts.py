"""A queue outlives its session: what waits in a real ComfyUI at the stop becomes pictures later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.support.real_comfyui import Install
from tests.support.real_house import Person, arrived, graph, port_state, real_house
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.real_comfyui,
    pytest.mark.browser,
    pytest.mark.timeout(900),
]

FOREVER_S = 3600
PICTURES = 3


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory, comfyui: Install) -> Iterator[ManagerProcess]:
    with real_house(tmp_path_factory.mktemp("kept"), comfyui, rows=1) as made:
        yield made


@pytest.fixture
def dora(house: ManagerProcess, browser: Browser) -> Iterator[Person]:
    with arrived(browser, house, "dora") as person:
        yield person


def test_what_waited_at_the_stop_becomes_pictures_in_the_next_session(
    house: ManagerProcess, dora: Person
) -> None:
    dora.click_start()
    dora.open_workspace()
    dora.begin_drawing(graph("first", 0x111111, sleep_s=FOREVER_S))
    for number in range(PICTURES):
        dora.begin_drawing(graph("kept", 0x203040 + number))
    expect(dora.page.locator('[data-role="pending"]')).to_have_text(str(PICTURES))
    dora.page.get_by_role("button", name="Stop", exact=True).click()
    dora.page.get_by_role("button", name="Yes, stop it").click()
    wait_until(lambda: port_state(house, dora.port) == "idle", 60, "the stop")
    kept = next(dora.folder.glob("unfinished-*.jsonl"))
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.stat().st_uid == dora.folder.stat().st_uid
    assert not list(dora.folder.glob("output/kept*"))

    dora.page.get_by_role("button", name="Start ComfyUI").click()
    dora.open_workspace()
    # The one that runs for an hour first, as before; then it is interrupted, and the rest goes on.
    dora.page.get_by_role("button", name="Send them again").click()
    accepted = dora.page.get_by_text(f"{PICTURES + 1} were sent again and accepted.")
    expect(accepted).to_be_visible(timeout=60_000)
    expect(dora.page.locator('[data-role="running"]')).to_have_text("1")
    dora.desk.evaluate("() => app.api.interrupt()")
    wait_until(lambda: len(list(dora.folder.glob("output/kept*"))) == PICTURES, 120, "the pictures")
    assert not list(dora.folder.glob("unfinished-*"))
