"""Each part killed and stopped in turn: work goes on, what happened is shown, nothing stays."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests

from tests.support.chaos import Json, account, opens, query, row_of, supervisor_of
from tests.support.client import Client, first_admin, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

CADDY_KILLS = 3
MANAGER_STOPPED_S = 5.0


class House:
    """A running manager with user a at work."""

    def __init__(self, folder: Path, stack: ExitStack, flags: str = "", **settings: str) -> None:
        given = {"COMFYUI_ARGS": f"--demo-zero-boot {flags}".strip(), "STOP_TIMEOUT": "1"}
        self.manager = ManagerProcess(folder, settings={**given, **settings})
        stack.enter_context(self.manager)
        self.admin = stack.enter_context(first_admin(self.manager))
        self.a: Client = stack.enter_context(new_user(self.admin, "a", self.manager.ports[0]))
        self.b: Client = stack.enter_context(new_user(self.admin, "b", self.manager.ports[1]))
        self.url = str(self.a.start()["workspace_url"])
        row = row_of(self.manager, self.manager.ports[0])
        self.pid, self.launch_id = int(row["process_id"]), str(row["launch_id"])

    def port(self) -> Json:
        """Read what the admin sees of a's port."""
        ports = self.admin.get("/api/admin/overview")["ports"]
        return dict(next(p for p in ports if p["port"] == self.manager.ports[0]))

    def gate(self) -> Json:
        """Read what the admin sees of Caddy."""
        return dict(self.admin.get("/api/admin/overview")["gate"])

    def caddy(self) -> int:
        """Give Caddy's pid."""
        return int(json.loads(self.manager.run("status", "--json").stdout)["caddy"]["pid"])

    def goes_on(self) -> None:
        """Prove that a's work is the same process behind the same link, and all adds up."""
        row = row_of(self.manager, self.manager.ports[0])
        assert (row["status"], row["process_id"], row["launch_id"]) == (
            "running",
            self.pid,
            self.launch_id,
        )
        assert account(self.manager, {self.url}) == []

    def ends(self) -> None:
        """End a's work and prove that nothing is left of it."""
        self.a.stop()
        assert account(self.manager, {self.url}) == []


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Have a process stopped for the length of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        # It may have been meant to end meanwhile.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_a_caddy_killed_again_and_again_comes_back(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack)
    for _ in range(CADDY_KILLS):
        pid = house.caddy()
        os.kill(pid, signal.SIGKILL)

        def back(killed: int = pid) -> bool:
            try:
                return house.caddy() != killed and opens(house.url) == 200
            except (requests.ConnectionError, TypeError):
                return False

        wait_until(back, 60, what="Caddy is back with the same links")
    house.goes_on()


def test_a_killed_instance_leaves_nothing_and_says_what_happened(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack, "--demo-spawn-grandchildren 4")
    os.kill(house.pid, signal.SIGKILL)
    state = house.a.until_gone()
    assert state["last_usage"]["end_reason"] == "died"
    assert account(house.manager, {house.url}) == []


def test_a_killed_supervisor_loses_no_work_and_its_tree_still_ends(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack, "--demo-spawn-grandchildren 4")
    os.kill(supervisor_of(house.manager, house.launch_id), signal.SIGKILL)
    wait_until(
        lambda: "its supervisor was killed" in (house.port()["fault"] or ""), what="it is shown"
    )
    house.goes_on()
    house.manager.kill()
    house.manager.start()
    house.goes_on()
    house.ends()


def test_a_stopped_manager_stops_nobody_else(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, IDLE_TIMEOUT="4", QUEUE_CHECK_INTERVAL="0.2")
    assert house.manager.process is not None
    with stopped(house.manager.process.pid):
        until = time.monotonic() + MANAGER_STOPPED_S
        while time.monotonic() < until:
            assert opens(house.url) == 200
            time.sleep(0.2)
    # Longer than the idle limit, but nobody looked: that does not count.
    wait_until(lambda: house.manager.health(), what="it answers again")
    assert house.port()["state"] == "running"
    house.goes_on()


def test_a_stopped_caddy_is_shown_and_heals(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack)
    with stopped(house.caddy()):
        wait_until(lambda: "SIGSTOP" in (house.gate()["problem"] or ""), what="it is shown")
        refused = house.b.ask("POST", "/api/user/start")
        assert refused.status_code == 409
        assert "Caddy" in refused.json()["error"]["message"]
        # The gate cannot be closed, so the port is not free; it goes on by itself.
        house.a.post("/api/user/stop")
        assert house.a.state()["phase"] == "stopping"
    house.a.until_gone()
    wait_until(lambda: house.gate()["problem"] is None, what="it heals")
    assert account(house.manager, {house.url}) == []
    house.b.start()


def test_a_stopped_instance_is_not_idle_and_can_be_ended(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, IDLE_TIMEOUT="3", QUEUE_CHECK_INTERVAL="0.2")
    with stopped(house.pid):
        wait_until(lambda: house.port()["responding"] is False, what="it is shown")
        until = time.monotonic() + 5
        while time.monotonic() < until:
            assert house.port()["state"] == "running"
            time.sleep(0.2)
    wait_until(lambda: house.port()["responding"], what="it answers again")
    house.goes_on()
    with stopped(house.pid):
        house.ends()


@pytest.mark.parametrize("flags", ["", "--demo-ignore-sigterm --demo-spawn-grandchildren 4"])
def test_a_stopped_supervisor_does_not_keep_the_card(
    tmp_path: Path, stack: ExitStack, flags: str
) -> None:
    house = House(tmp_path, stack, flags)
    with stopped(supervisor_of(house.manager, house.launch_id)):
        house.goes_on()
        house.ends()
    (row,) = query(house.manager, "SELECT end_reason FROM usage")
    assert row["end_reason"] == "user"


def test_a_lost_database_kills_nobody_and_an_admin_decides(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack)
    house.manager.kill()
    for name in ("", "-wal", "-shm"):
        Path(f"{tmp_path / 'comfyui_manager.db'}{name}").unlink(missing_ok=True)
    house.manager.start()
    with first_admin(house.manager) as admin:
        (one,) = admin.get("/api/admin/overview")["leftovers"]
        assert (one["launch_id"], one["pid"]) == (house.launch_id, house.pid)
        assert (one["username"], one["port"]) == ("a", house.manager.ports[0])
        with new_user(admin, "c", house.manager.ports[0]) as late:
            refused = late.ask("POST", "/api/user/start")
            assert refused.json()["error"]["key"] == "no_free_card.unavailable"
            os.kill(house.pid, 0)
            admin.post(f"/api/admin/leftovers/{house.launch_id}/stop")
            wait_until(lambda: not admin.get("/api/admin/overview")["leftovers"], what="gone")
            assert account(house.manager, {house.url}) == []
            late.start()
