"""The wall clock set forward and back under the real program: nothing ends or waits for it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.chaos import SETTINGS, Json, account, opens, query, row_of
from tests.support.client import Client, first_admin, new_user
from tests.support.clocked import Clock
from tests.support.server import OWN_PROGRAM, ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

FORWARD_S, BACK_S = 5 * 3600.0, -5 * 3600.0
"""How wrong the clock is, one after the other. A login lasts for twelve hours."""


class House:
    """A manager with a clock of its own; user a at work, user b coming and going."""

    def __init__(self, folder: Path, stack: ExitStack, flags: str = "") -> None:
        self.clock = Clock(folder / "clock")
        self.manager = ManagerProcess(
            folder / "manager",
            settings={**SETTINGS, "COMFYUI_ARGS": f"--demo-zero-boot {flags}".strip()},
            program=(*self.clock.program, OWN_PROGRAM[1]),
        )
        stack.enter_context(self.manager)
        self.admin = stack.enter_context(first_admin(self.manager))
        self.a: Client = stack.enter_context(new_user(self.admin, "a", self.manager.ports[0]))
        self.b: Client = stack.enter_context(new_user(self.admin, "b", self.manager.ports[1]))
        self.began = time.monotonic()
        self.url = str(self.a.start()["workspace_url"])
        self.pid = row_of(self.manager, self.manager.ports[0])["process_id"]

    def idle_of_a(self) -> float:
        """Read how long a has been idle, once he is looked at again."""

        def known() -> Json | None:
            (port, *_) = self.admin.get("/api/admin/overview")["ports"]
            return port if port["idle_left"] is not None else None

        return float((wait_until(known, what="a is looked at") or {})["idle_seconds"])

    def goes_on(self, idle_before: float) -> float:
        """Prove that a works on as before and is as idle as he really was; give that."""
        row = row_of(self.manager, self.manager.ports[0])
        assert (row["status"], row["process_id"]) == ("running", self.pid)
        assert opens(self.url) == 200
        idle = self.idle_of_a()
        assert idle_before <= idle <= time.monotonic() - self.began
        # By their times alone two sessions may well seem to be at the same time.
        wrong = account(self.manager, {self.url})
        assert [what for what in wrong if not what.startswith("at the same time")] == []
        return idle

    def b_dies(self, with_signal: signal.Signals) -> None:
        """Have b's instance die, and prove that he is told of this end and no other."""
        os.kill(row_of(self.manager, self.manager.ports[1])["process_id"], with_signal)
        state = self.b.until_gone()
        assert state["phase"] == "failed"
        assert state["last_usage"]["signal"] == with_signal.name


def test_a_clock_that_is_set_ends_nobodys_work(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path, stack, "--demo-ignore-sigterm")
        idle = 0.0
        for wrong_by, number in ((FORWARD_S, signal.SIGSEGV), (BACK_S, signal.SIGABRT)):
            house.b.start()
            # Under way when the clock is set: a stop of one that has to be killed, then a start.
            house.b.post("/api/user/stop")
            house.clock.set(wrong_by)
            assert house.b.until_gone()["last_usage"]["end_reason"] == "user"
            house.clock.set(0.0)
            house.b.post("/api/user/start")
            house.clock.set(wrong_by)
            house.b.until_running()
            idle = house.goes_on(idle)
            house.b_dies(number)
        ends = [row["end_reason"] for row in query(house.manager, "SELECT end_reason FROM usage")]
        assert ends == [None, "user", "died", "user", "died"]


def test_a_manager_killed_while_the_clock_was_set_finds_everything(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path, stack)
        house.b.post("/api/user/start")
        house.manager.kill()
        house.clock.set(FORWARD_S)
        house.manager.start()
        house.b.until_running()
        house.b.post("/api/user/stop")
        house.manager.kill()
        house.clock.set(BACK_S)
        house.manager.start()
        house.b.until_gone()
        house.goes_on(0.0)
