"""A wall clock that is set back while no manager runs, and a page that stays open over it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.browser import FIRST_PASSWORD, Person
from tests.support.chaos import rows
from tests.support.clocked import Clock
from tests.support.server import OWN_PROGRAM, ManagerProcess

pytestmark = pytest.mark.browser

OWN = "a password of my own"
BACK_S = -5 * 3600.0


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def manager(tmp_path: Path, clock: Clock) -> Iterator[ManagerProcess]:
    with ManagerProcess(
        tmp_path / "manager",
        settings={"COMFYUI_ARGS": "--demo-zero-boot"},
        program=(*clock.program, OWN_PROGRAM[1]),
    ) as running:
        yield running


def test_an_open_page_goes_on_after_the_clock_was_set_back(
    manager: ManagerProcess, clock: Clock, people: Callable[..., Person]
) -> None:
    admin = people()
    admin.comes_in("admin", FIRST_PASSWORD, OWN)
    admin.starts()
    manager.kill()
    admin.sees("common.reconnecting")
    clock.set(BACK_S)
    manager.start()
    # What follows is pushed; the page is neither loaded again nor touched.
    (process_id,) = [row["process_id"] for row in rows(manager) if row["process_id"]]
    os.kill(process_id, signal.SIGSEGV)
    admin.headline("user.headline.failed")
    admin.sees("fault.signal", signal="SIGSEGV")
    assert admin.page.url == f"{manager.url}/", "still logged in"
