"""The record of use of the whole program: what it says against what was really run on the demo."""

from __future__ import annotations

import csv
import io
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, Workspace, first_admin, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

ROUNDING = 2
"""Seconds: each number of a record is rounded down."""


class House:
    """A running manager with one port, its admin and two users."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: str) -> None:
        chosen = {
            "COMFYUI_ARGS": "--demo-zero-boot",
            "STOP_TIMEOUT": "2",
            "QUEUE_CHECK_INTERVAL": "0.2",
            **settings,
        }
        self.manager = ManagerProcess(folder, rows=1, settings=chosen)
        stack.enter_context(self.manager)
        self.admin = stack.enter_context(first_admin(self.manager))
        self.a = stack.enter_context(new_user(self.admin, "a"))
        self.b = stack.enter_context(new_user(self.admin, "b"))

    def sessions(self) -> list[dict[str, Any]]:
        """Read the sessions as the admin sees them, the oldest first."""
        found: list[dict[str, Any]] = self.admin.get("/api/admin/usage")["sessions"]
        return found[::-1]

    def counted(self) -> int:
        """Count the prompts that are written, whatever the manager still has in memory."""
        with sqlite3.connect(self.manager.folder / "comfyui_manager.db") as database:
            (count,) = database.execute("SELECT sum(prompts) FROM usage_days").fetchone()
        database.close()
        return int(count)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def workspace(stack: ExitStack, user: Client) -> Workspace:
    opened = Workspace(user.start()["workspace_url"])
    stack.callback(opened.close)
    return opened


def job(number: int, seconds: float) -> dict[str, Any]:
    size = {"width": 8, "height": 8, "batch_size": 1, "color": number}
    return {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "Sleep", "inputs": {"seconds": seconds, "value": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "t"}},
    }


def submit(opened: Workspace, number: int, seconds: float) -> str:
    answer = opened.post("/prompt", {"prompt": job(number, seconds)})
    assert answer.ok, answer.text
    return str(answer.json()["prompt_id"])


def done(opened: Workspace) -> int:
    return len(opened.get("/history").json())


def test_a_record_says_what_was_run_and_for_how_long(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, IDLE_TIMEOUT="4")
    opened = workspace(stack, house.a)
    begun = time.monotonic()
    wanted = [submit(opened, number, 1.0) for number in range(3)]
    dropped = submit(opened, 9, 1.0)
    assert opened.post("/queue", {"delete": [dropped]}).ok
    wait_until(lambda: done(opened) == len(wanted), what="the jobs are done")
    worked = time.monotonic() - begun
    state = house.a.until_gone()
    assert state["last_usage"]["end_reason"] == "idle"
    (one,) = house.sessions()
    # Three ran, the fourth was taken out of the queue; then it was idle up to the limit.
    assert (one["username"], one["card"], one["end_reason"]) == ("a", 1, "idle")
    assert (one["prompts"], one["waited_seconds"]) == (3, 0)
    assert 3 - 1 <= one["worked_seconds"] <= worked + ROUNDING
    assert one["idle_seconds"] >= 4 - 1
    known = one["worked_seconds"] + one["idle_seconds"] + one["unknown_seconds"]
    assert known <= one["held_seconds"] + ROUNDING
    total = house.admin.get("/api/admin/usage?by=card&period=today")["totals"]
    assert [(t["key"], t["prompts"], t["sessions"]) for t in total] == [("1", 3, 1)]


def test_jobs_that_no_look_meets_are_counted(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, QUEUE_CHECK_INTERVAL="5")
    opened = workspace(stack, house.a)
    for number in range(20):
        submit(opened, number, 0.0)
    wait_until(lambda: done(opened) == 20, what="the jobs are done")
    house.a.stop()
    assert [one["prompts"] for one in house.sessions()] == [20]


def test_waiting_is_counted_until_the_start(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack)
    house.a.start()
    begun = time.monotonic()
    house.b.post("/api/user/line")
    wait_until(lambda: time.monotonic() - begun > 3, what="b has waited for some time")
    house.a.stop()
    wait_until(lambda: house.b.state()["phase"] == "turn", what="it is b's turn")
    house.b.start()
    waited = time.monotonic() - begun
    house.b.stop()
    first, second = house.sessions()
    assert first["waited_seconds"] == 0
    assert 3 <= second["waited_seconds"] <= waited + ROUNDING
    mine = house.b.get("/api/user/usage")
    assert [one["username"] for one in mine["sessions"]] == ["b"]
    assert mine["today"]["waited"] == 1


def test_a_killed_manager_counts_nothing_twice_and_the_next_goes_on(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack)
    opened = workspace(stack, house.a)
    for number in range(3):
        submit(opened, number, 0.5)
    wait_until(lambda: done(opened) == 3, what="three jobs are done")
    wait_until(lambda: house.counted() == 3, 60, "three prompts are written")
    process = house.manager.process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    # Nobody looks, and ComfyUI works on.
    for number in range(3, 7):
        submit(opened, number, 0.2)
    wait_until(lambda: done(opened) == 7, what="seven jobs are done")
    house.manager.start()
    house.a.until_running()
    submit(opened, 7, 1.0)
    wait_until(lambda: done(opened) == 8, what="eight jobs are done")
    house.a.stop()
    (one,) = house.sessions()
    assert one["prompts"] == 8
    text = house.admin.ask("GET", "/api/admin/usage.csv?by=session").content.decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["username"], row["prompts"], row["end_reason"]) == ("a", "8", "user")
