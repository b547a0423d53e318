"""A crash reaches open pages by itself, with its reason, at the first look that can see it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from manager.web.live import OVERVIEW_DIFF_EVENT
from tests.support.chaos import Json, row_of
from tests.support.client import first_admin, new_user
from tests.support.open_page import OpenPage
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

LATE_STATES = 2
"""States of the time before that may still come once a crash can be seen: one on its way, and that
of a look which had begun. A look comes each second, so that this is what two seconds mean."""


def _until_not_running(states: Iterator[Json], heard: list[Json]) -> None:
    for state in states:
        heard.append(state)
        if state["phase"] != "running":
            return


def test_a_crash_is_pushed_to_its_users_page_and_the_admins(tmp_path: Path) -> None:
    with ExitStack() as stack:
        manager = ManagerProcess(tmp_path, settings={"COMFYUI_ARGS": "--demo-zero-boot"})
        stack.enter_context(manager)
        admin = stack.enter_context(first_admin(manager))
        ann = stack.enter_context(new_user(admin, "ann", manager.ports[0]))
        states = stack.enter_context(OpenPage(ann)).states()
        diffs = stack.enter_context(OpenPage(admin)).events(OVERVIEW_DIFF_EVENT)
        ann.start()
        next(state for state in states if (state["instance"] or {}).get("idle_seconds"))
        heard: list[Json] = []
        page = threading.Thread(target=_until_not_running, args=(states, heard), daemon=True)
        page.start()
        row = row_of(manager, manager.ports[0])
        os.kill(row["process_id"], signal.SIGSEGV)
        gone = manager.data_dir / "runs" / row["launch_id"] / "gone"
        wait_until(gone.exists, what="its supervisor has seen the end of all of it")
        before = len(heard)
        page.join(60)
        assert not page.is_alive(), "the page was told nothing"
        *late, last = heard
        assert len(late[before:]) <= LATE_STATES
        usage = last["last_usage"]
        assert last["phase"] == "failed"
        assert (usage["fault_kind"], usage["signal"], usage["exit_code"]) == (
            "signal",
            "SIGSEGV",
            -signal.SIGSEGV,
        )
        shown = next(
            port
            for diff in diffs
            for port in diff.get("ports", ())
            if port["port"] == manager.ports[0] and port.get("fault_kind")
        )
        assert (shown["state"], shown["exit_code"]) == ("failed", -signal.SIGSEGV)
