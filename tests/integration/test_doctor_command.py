"""``doctor`` as an operator types it and as the admins' page runs it, on real parts."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manager.web.doctor import Doctor
from tests.support.client import first_admin
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ManagerProcess]:
    made = ManagerProcess(
        tmp_path / "a folder with spaces", rows=1, settings={"EXTERNAL_IP": "localhost"}
    )
    yield made
    made.stop()


def found(manager: ManagerProcess, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = manager.run("doctor", "--json", *words)
    lines = json.loads(done.stdout)["findings"]
    return done.returncode, {one["check"]: one for one in lines}


def test_at_work_everything_is_ours_and_the_page_says_the_same(manager: ManagerProcess) -> None:
    with manager, first_admin(manager) as admin:
        code, lines = found(manager)
        # How well users are kept apart is this machine's affair, and other managers' on it.
        problems = {name for name, one in lines.items() if one["level"] == "problem"}
        assert problems <= {"isolation"}, lines
        assert code == len(problems)
        assert {
            name: lines[name]["case"] for name in ("service", "ports", "caddy", "database")
        } == {
            "service": "ok",
            "ports": "ok",
            "caddy": "ok",
            "database": "ok",
        }
        assert lines["address"]["case"] == "ok"
        assert lines["folders"]["case"] == "ok"
        assert lines["isolation"]["case"] != "unknown"
        assert admin.post("/api/admin/doctor")["running"]

        def ended() -> dict[str, Any] | None:
            told = admin.get("/api/admin/doctor")
            return None if told["running"] else told

        told = wait_until(ended, 120, "the examination ends") or {}
        assert {one["check"] for one in told["findings"]} == set(lines)
        assert told["failed"] == ""


def test_problems_are_named_with_what_to_do_and_an_exit_code(manager: ManagerProcess) -> None:
    with socket.socket() as stranger:
        stranger.bind(("127.0.0.1", manager.ports[0]))
        stranger.listen()
        code, lines = found(manager)
        assert code == 1
        assert str(manager.ports[0]) in lines["ports"]["text"]
        assert "choose another port" in lines["ports"]["text"]
        assert found(manager, "--exit-zero")[0] == 0
    assert "未运行" in found(manager, "--lang", "zh_CN")[1]["service"]["text"]
    manager.env["LANG"] = "zh_CN.UTF-8"
    manager.env.pop("LC_ALL", None)
    assert "管理器: 未运行" in manager.run("doctor").stdout


def test_an_examination_that_fails_says_so_and_can_be_repeated() -> None:
    doctor = Doctor(("sh", "-c", "echo no good >&2; exit 3"))
    for _ in range(2):
        thread = doctor.begin()
        assert thread is not None
        thread.join()
        assert "no good" in doctor.result().failed
        assert not doctor.result().running
