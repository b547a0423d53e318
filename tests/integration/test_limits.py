"""Limits and reservations in the whole program: what works goes on, also past a killed manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.test_usage import submit, workspace
from tests.support import chaos
from tests.support.client import PATIENCE_S, Client, Json, first_admin, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

NOBODY: Json = {"user_ids": []}
A_SECOND: Json = {
    "priority": "normal",
    "sessions_at_once": None,
    "day_limit": None,
    "session_limit": 1,
}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def ended(user: Client) -> str:
    return str(user.until_gone()["last_usage"]["end_reason"])


def put(admin: Client, path: str, body: Json) -> None:
    answer = admin.ask("PUT", path, body)
    assert answer.ok, answer.text


def test_work_is_finished_behind_a_closed_gate_also_under_the_next_manager(
    tmp_path: Path, stack: ExitStack
) -> None:
    settings = {**chaos.SETTINGS, "LIMIT_GRACE": "1"}
    manager = stack.enter_context(ManagerProcess(tmp_path, rows=1, settings=settings))
    admin = stack.enter_context(first_admin(manager))
    ann = stack.enter_context(new_user(admin, "anna_lindqvist"))
    opened = workspace(stack, ann)
    submit(opened, 1, seconds=600)
    number = ann.state()["user"]["id"]
    put(admin, f"/api/admin/users/{number}/limits", A_SECOND)
    wait_until(lambda: opened.get("/queue").status_code == 403, PATIENCE_S, "its gate is closed")
    assert ann.state()["phase"] == "running"
    manager.kill()
    manager.start()
    state = ann.state()
    assert (state["phase"], state["instance"]["workspace_url"]) == ("running", None)
    assert state["instance"]["time"]["shut"]
    assert opened.get("/queue").status_code == 403
    # More time opens the gate again, with the same token, and the job is still there.
    put(admin, f"/api/admin/users/{number}/limits", {**A_SECOND, "session_limit": 0})
    wait_until(lambda: opened.get("/queue").ok, PATIENCE_S, "its gate is open")
    assert len(opened.get("/queue").json()["queue_running"]) == 1
    assert opened.post("/interrupt", {}).ok
    put(admin, f"/api/admin/users/{number}/limits", A_SECOND)
    assert ended(ann) == "time_limit"


def test_a_drained_card_stays_so_under_the_next_manager(tmp_path: Path, stack: ExitStack) -> None:
    manager = stack.enter_context(ManagerProcess(tmp_path, rows=1, settings=chaos.SETTINGS))
    admin = stack.enter_context(first_admin(manager))
    ann = stack.enter_context(new_user(admin, "anna_lindqvist"))
    ann.start()
    put(admin, f"/api/admin/ports/{manager.ports[0]}/reservation", NOBODY)
    manager.kill()
    manager.start()
    assert ann.until_running()
    ann.stop()
    answer = ann.ask("POST", "/api/user/start")
    assert answer.json()["error"]["key"] == "no_free_card.all_reserved"
    assert ann.post("/api/user/line")["phase"] == "waiting"
    manager.kill()
    manager.start()
    assert ann.state()["line"]["offer"] is None
    assert admin.ask("DELETE", f"/api/admin/ports/{manager.ports[0]}/reservation").ok
    wait_until(lambda: ann.state()["phase"] == "turn", PATIENCE_S, "his turn")
    ann.start()
