"""The idle watch over a real ComfyUI: a job is never cut off, an idle card comes back."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.real_comfyui import Install
from tests.support.real_house import Person, arrived, graph, port_state, real_house
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.real_comfyui,
    pytest.mark.browser,
    pytest.mark.timeout(900),
]

IDLE_TIMEOUT_S = 8
JOB_S = 3 * IDLE_TIMEOUT_S


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory, comfyui: Install) -> Iterator[ManagerProcess]:
    with real_house(
        tmp_path_factory.mktemp("idle"), comfyui, rows=1, IDLE_TIMEOUT=str(IDLE_TIMEOUT_S)
    ) as made:
        yield made


@pytest.fixture
def carol(house: ManagerProcess, browser: Browser) -> Iterator[Person]:
    with arrived(browser, house, "carol") as person:
        yield person


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_job_outlives_the_idle_limit_and_then_the_card_comes_back(
    house: ManagerProcess, carol: Person
) -> None:
    carol.click_start()
    desk = carol.open_workspace()
    sockets: list[str] = []
    desk.on("websocket", lambda opened: sockets.append(opened.url))

    # Three times the limit under way, without a sign of life from the person.
    carol.begin_drawing(graph("long", 0x102030, sleep_s=JOB_S))
    drawn = carol.finished_drawing()

    assert drawn["status"] == 200
    assert port_state(house, carol.port) == "running"

    # Nothing more: the card is free again, the old link is dead.
    wait_until(lambda: port_state(house, carol.port) == "idle", 120, "the idle stop")
    assert not listens(carol.port)
    assert carol.goto(carol.link) == 403
    carol.page.get_by_text("had no work").wait_for()
    assert list(carol.folder.glob("output/long*"))

    # ComfyUI's page keeps knocking about once a second; that must not start anything.
    already = len(sockets)
    desk.wait_for_timeout(0)
    wait_until(lambda: knocks(desk_sockets=sockets, desk=carol) >= already + 3, 60, "the tab")
    assert port_state(house, carol.port) == "idle"
    assert not listens(carol.port)
    assert carol.goto(f"http://127.0.0.1:{carol.workspace_port}/") == 403

    # And the next start is the person's, with a new link.
    old = carol.link
    carol.page.get_by_role("button", name="Start ComfyUI").click()
    carol.open_workspace()
    assert carol.link != old
    assert carol.goto(old) == 403


def knocks(desk_sockets: list[str], desk: Person) -> int:
    """Count the websockets the tab has tried; Playwright delivers events only while it is asked."""
    desk.desk.wait_for_timeout(200)
    return len(desk_sockets)
