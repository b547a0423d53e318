"""The record of use over a real ComfyUI: its history is what prompts are counted from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.client import Workspace, first_admin, new_user
from tests.support.real_comfyui import Install
from tests.support.real_house import graph, real_house
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.real_comfyui, pytest.mark.timeout(900)]

SLEEP_S = 5.0
QUICK_JOBS = 12
ROUNDING = 2


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory, comfyui: Install) -> Iterator[ManagerProcess]:
    with real_house(tmp_path_factory.mktemp("usage"), comfyui, rows=1) as made:
        yield made


def test_what_ran_is_what_is_counted(house: ManagerProcess) -> None:
    with first_admin(house) as admin, new_user(admin, "carol") as carol:
        workspace = Workspace(carol.start()["workspace_url"])
        history: dict[str, Any] = {}

        def submit(color: int, sleep_s: float = 0) -> str:
            answer = workspace.post("/prompt", {"prompt": graph("use", color, sleep_s=sleep_s)})
            assert answer.ok, answer.text
            return str(answer.json()["prompt_id"])

        def done(count: int) -> bool:
            history.clear()
            history.update(workspace.get("/history").json())
            return len(history) == count

        slow = submit(1, SLEEP_S)
        dropped = submit(2)
        assert workspace.post("/queue", {"delete": [dropped]}).ok
        wait_until(lambda: done(1), 120, "the slow job is done")
        # Most of these are over before anybody has looked.
        quick = [submit(100 + number) for number in range(QUICK_JOBS)]
        wait_until(lambda: done(1 + QUICK_JOBS), 120, "the quick jobs are done")
        assert list(history)[:1] == [slow]
        assert set(history) == {slow, *quick}
        workspace.close()
        carol.stop()
        (one,) = carol.get("/api/user/usage")["sessions"]
        assert one["prompts"] == 1 + QUICK_JOBS
        assert SLEEP_S - ROUNDING <= one["worked_seconds"] <= one["held_seconds"]
