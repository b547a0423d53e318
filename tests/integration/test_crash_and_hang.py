"""Crashes, hangs and restarts of real processes in the whole program; logs while they run."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.client import Client, Json, Workspace, first_admin, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


class House:
    """A running manager, its admin, and one user on the first port."""

    def __init__(self, folder: Path, stack: ExitStack, args: str = "", **settings: str) -> None:
        words = f"--demo-zero-boot {args}".strip()
        self.manager = ManagerProcess(
            folder, settings={"COMFYUI_ARGS": words, "STOP_TIMEOUT": "2", **settings}
        )
        stack.enter_context(self.manager)
        self.admin: Client = stack.enter_context(first_admin(self.manager))
        self.user: Client = stack.enter_context(new_user(self.admin, "ann", self.manager.ports[0]))

    def log(self) -> str:
        return self.manager.log_path.read_text(encoding="utf-8")

    def sql(self, query: str) -> list[tuple[object, ...]]:
        database = sqlite3.connect(self.manager.folder / "comfyui_manager.db")
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def until(self, what: str, condition: object) -> Json:
        def found() -> Json | None:
            state = self.user.state()
            return state if condition(state) else None  # type: ignore[operator]

        return wait_until(found, 60, what) or {}

    def first_port(self) -> Json:
        ports = self.admin.get("/api/admin/overview")["ports"]
        return dict(ports[0])


@pytest.mark.parametrize(
    ("args", "kind", "line", "code"),
    [
        ("--demo-exit-at-start 3", "python_error", "RuntimeError: demo failure", 3),
        ("--no-such-flag", "bad_flag", "unrecognized arguments: --no-such-flag", 2),
        ("--demo-crash-after 0.3", "python_error", "RuntimeError: demo crash", 1),
    ],
)
def test_the_reason_reaches_user_admin_and_database(
    tmp_path: Path, stack: ExitStack, args: str, kind: str, line: str, code: int
) -> None:
    house = House(tmp_path, stack, args)
    house.user.post("/api/user/start")
    usage = house.until("it has failed", lambda s: s["phase"] == "failed")["last_usage"]
    assert (usage["end_reason"], usage["fault_kind"], usage["exit_code"]) == ("died", kind, code)
    assert line in usage["fault_line"]
    assert usage["log_tail"]
    port = house.first_port()
    assert (port["fault_kind"], port["fault_line"]) == (kind, usage["fault_line"])
    assert house.sql("SELECT fault_kind, exit_code, automatic FROM usage") == [(kind, code, 0)]


def _kill(house: House) -> None:
    (found,) = house.sql("SELECT process_id FROM port_status WHERE status = 'running'")
    os.kill(int(str(found[0])), signal.SIGSEGV)


def test_a_killed_one_comes_back_on_its_port_with_a_new_link(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack, RESTART_POLICY="on-crash")
    before = house.user.start()
    _kill(house)
    waiting = house.until("it waits for its restart", lambda s: s["restart"])
    assert waiting["restart"]["attempt"] == 1
    assert 0 < waiting["restart"]["seconds"] <= 5
    assert waiting["last_usage"]["signal"] == "SIGSEGV"
    after = house.until("it runs again", lambda s: s["phase"] == "running")["instance"]
    assert after["port"] == before["port"]
    assert after["workspace_url"] != before["workspace_url"]
    workspace = Workspace(after["workspace_url"])
    stack.callback(workspace.close)
    assert workspace.entered.ok
    assert house.sql("SELECT automatic FROM usage ORDER BY started_at") == [(0,), (1,)]
    # What its user stops then, stays stopped.
    house.user.stop()
    assert house.user.state()["restart"] is None


def test_a_cancelled_restart_never_comes(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, RESTART_POLICY="on-crash", QUEUE_CHECK_INTERVAL="0.2")
    house.user.start()
    _kill(house)
    house.until("it waits for its restart", lambda s: s["restart"])
    assert house.user.post("/api/user/cancel-restart")["restart"] is None
    assert "the restart was cancelled" in house.log()
    # A second user's crash, later, is restarted in the time ours would have been in.
    other = stack.enter_context(new_user(house.admin, "bob", house.manager.ports[1]))
    other.start()
    _kill(house)
    other_runs = f"端口 {house.manager.ports[1]} 卡2 bob: starting -> running"
    wait_until(lambda: house.log().count(other_runs) == 2, 60, "bob's runs again")
    assert house.user.state()["instance"] is None
    assert len(house.sql("SELECT 1 FROM usage WHERE username = 'ann'")) == 1


def test_by_default_a_hang_is_shown_and_nothing_is_done(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, "--demo-hang-http 1", HANG_TIMEOUT="1")
    house.user.start()
    shown = house.until("the hang is shown", lambda s: s["instance"]["hung_since"])
    assert shown["phase"] == "running"
    assert house.first_port()["hung_since"] == shown["instance"]["hung_since"]
    house.user.stop()
    assert house.user.state()["last_usage"]["end_reason"] == "user"


def test_a_hang_that_does_nothing_is_ended_and_started_again(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack, "--demo-hang-http 2", HANG_TIMEOUT="3", HANG_ACTION="restart")
    first = house.user.start()
    waiting = house.until("it was ended for its hang", lambda s: s["restart"])
    usage = waiting["last_usage"]
    assert (usage["end_reason"], usage["fault_kind"]) == ("hung", "hung")
    again = house.until("it runs again", lambda s: s["phase"] == "running")["instance"]
    assert again["port"] == first["port"]


def test_one_that_is_stopped_in_its_tracks_is_a_hang_too(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, HANG_TIMEOUT="2", HANG_ACTION="stop", STOP_TIMEOUT="0.5")
    house.user.start()
    (found,) = house.sql("SELECT process_id FROM port_status WHERE status = 'running'")
    os.kill(int(str(found[0])), signal.SIGSTOP)
    usage = house.user.until_gone()["last_usage"]
    assert usage["end_reason"] == "hung"


def test_a_silent_one_that_works_is_never_ended(tmp_path: Path, stack: ExitStack) -> None:
    """It prints and computes, but answers nobody: so does ComfyUI inside one long node."""
    args = "--demo-hang-http 0.5 --demo-flood"
    house = House(tmp_path, stack, args, HANG_TIMEOUT="1", HANG_ACTION="stop")
    house.user.start()
    house.until("the hang is shown", lambda s: s["instance"]["hung_since"])
    # Many times the time in which one that does nothing is ended.
    enough = time.monotonic() + 8

    def long_enough() -> bool:
        state = house.user.state()
        assert state["phase"] == "running", state
        assert state["instance"]["hung_since"], "it was silent all the time"
        return time.monotonic() > enough

    wait_until(long_enough, what="it was silent for long")
    assert "hung" not in house.log()


def test_the_log_of_a_running_one_is_capped_joined_and_current(
    tmp_path: Path, stack: ExitStack
) -> None:
    limit = 65_536
    house = House(tmp_path, stack, "--demo-flood", INSTANCE_LOG_MAX_BYTES=str(limit))
    port = house.user.start()["port"]
    (run,) = (house.manager.data_dir / "runs").iterdir()
    wait_until((run / "log.1").exists, what="the log was rotated")

    def size() -> int:
        return sum((run / name).stat().st_size for name in ("log", "log.1"))

    for _ in range(30):
        mine = house.user.get("/api/user/log?bytes=65536")["log"]
        theirs = house.admin.get(f"/api/admin/ports/{port}/log?bytes=65536")["log"]
        for text in (mine, theirs):
            assert len(text) >= limit // 2, "the old copy goes before the new file"
            assert "demo flood" in text
    # 6 MB a second are printed, and on a busy machine many of them may stand for a moment: but it
    # comes back to its limit, again and again.
    for _ in range(10):
        wait_until(lambda: size() <= 4 * limit, what="the log is back at its limit")
    house.user.stop()
