"""The drivers' tools as real programs: slow, refused, silent or endless, and what follows."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from manager.cards import ascend
from manager.cards import tool as runner
from manager.cards.reading import MIB, CardProcess, Unreadable
from manager.cards.tool import Tools
from tests.support.card_samples import sample
from tests.support.card_tools import Npu, NpuSmi, Tool
from tests.support.client import Client, first_admin, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

LIMIT_S = 1.0
QUIET = [Npu(0), Npu(1)]
LEFT = [Npu(0, used=21000), Npu(1)]


def _living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and not _zombie(pid)]


def _zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NpuSmi]:
    made = NpuSmi(tmp_path / "tool")
    made.shows(QUIET)
    monkeypatch.setenv("PATH", made.env["PATH"])
    yield made
    wait_until(lambda: not _living(made.pids()), what="no tool is left")


def _run(limit_s: float = 30.0) -> str:
    return Tools(limit_s).run(["npu-smi", "info"])


def test_what_a_tool_prints_is_read_to_its_end(tool: NpuSmi) -> None:
    tool.prints("info", sample("npu-smi-info_26.1.0"))
    assert _run() == sample("npu-smi-info_26.1.0")


def test_a_refusal_is_unknown_with_the_tools_words(tool: NpuSmi) -> None:
    tool.does("fails", sample("npu-smi-error_dcmi-8005_exit187"))
    with pytest.raises(Unreadable, match=r"ended with 187: dcmi module .* ret is -8005"):
        _run()


def test_a_refusal_that_ends_well_is_no_table_either(tool: NpuSmi) -> None:
    tool.prints("info", sample("npu-smi-error_dcmi-8020"))
    with pytest.raises(Unreadable, match=r"the device is used\. ret is -8020"):
        ascend.read_table(_run())


def test_a_missing_tool_and_one_that_is_no_program(
    tool: NpuSmi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tool.path / "npu-smi").write_text("no program", encoding="utf-8")
    with pytest.raises(Unreadable, match="cannot be run"):
        _run()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unreadable, match="is not installed"):
        _run()


def test_a_slow_tool_is_killed_with_everything_it_started(tool: NpuSmi) -> None:
    tool.does("sleep", "600")
    with pytest.raises(Unreadable, match="did not answer within 1 s"):
        _run(LIMIT_S)
    assert len(tool.pids()) == 2
    wait_until(lambda: not _living(tool.pids()), what="both are gone")


def test_one_limit_holds_for_all_questions_of_a_look(tool: NpuSmi) -> None:
    tools = Tools(LIMIT_S)
    tools.begin()
    tool.does("sleep", "600")
    for _ in range(3):
        with pytest.raises(Unreadable, match="did not answer"):
            tools.run(["npu-smi", "info"])
    # The first one took all the time there was: the others had no time to begin a child.
    assert _living(tool.pids()) == []


def test_a_tool_that_cannot_be_ended_has_no_second_one_beside_it(
    tool: NpuSmi, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = Tools(LIMIT_S)
    tool.does("sleep", "600")
    with monkeypatch.context() as unkillable:
        # As one that waits in the driver, where no signal reaches it.
        unkillable.setattr(runner, "_kill_group", lambda group: None)
        unkillable.setattr(runner, "KILL_LIMIT_S", 0.1)
        with pytest.raises(Unreadable, match="did not answer"):
            tools.run(["npu-smi", "info"])
    before = tool.pids()
    tools.begin()
    with pytest.raises(Unreadable, match="hangs in the driver"):
        tools.run(["npu-smi", "info"])
    assert tool.pids() == before
    os.killpg(before[0], signal.SIGKILL)
    tool.stops("sleep")
    tools.begin()
    assert "910B3" in wait_until(lambda: _again(tools), what="it is asked again")


def _again(tools: Tools) -> str:
    try:
        return tools.run(["npu-smi", "info"])
    except Unreadable:
        return ""


def test_what_prints_without_end_is_stopped(tool: NpuSmi) -> None:
    tool.does("endless")
    with pytest.raises(Unreadable, match="printed more than 1 MiB"):
        _run()


def test_what_a_tool_leaves_behind_is_ended(tool: NpuSmi) -> None:
    program = tool.path / "npu-smi"
    script = f"#!/bin/sh\nsleep 600 &\necho $! >> {tool.folder}/pids\necho done\n"
    program.write_text(script, encoding="utf-8")
    assert _run() == "done\n"
    assert len(tool.pids()) == 1
    wait_until(lambda: not _living(tool.pids()), what="its child is gone")


def test_a_tool_is_asked_in_plain_english_from_nowhere(tool: NpuSmi) -> None:
    (tool.path / "npu-smi").write_text('#!/bin/sh\necho "$LANG $LC_ALL $PWD"\n', encoding="utf-8")
    assert _run() == "C C /\n"


def test_a_manager_that_ends_waits_for_no_tool(tool: NpuSmi) -> None:
    tool.does("sleep", "600")
    tools = Tools(600.0, stopping=lambda: len(tool.pids()) == 2)
    with pytest.raises(Unreadable, match="not waited for"):
        tools.run(["npu-smi", "info"])


# Through the whole program.


class House:
    """A running manager whose cards are what a stand-in says."""

    def __init__(self, folder: Path, stack: ExitStack, tool: Tool, **settings: str) -> None:
        given = {
            **tool.env,
            "CARD_KIND": "auto",
            "CARD_SAMPLE_INTERVAL": "0.5",
            "COMFYUI_ARGS": "--demo-zero-boot",
            **settings,
        }
        self.manager = ManagerProcess(folder / "m", settings=given)
        stack.enter_context(self.manager)
        self.port = self.manager.ports[0]
        self.admin = stack.enter_context(first_admin(self.manager))
        self.ann: Client = stack.enter_context(new_user(self.admin, "ann", self.port))

    def card(self, number: int = 1) -> dict[str, Any]:
        """Read what the admin sees of a card."""
        cards = self.admin.get("/api/admin/overview")["cards"]
        return dict(next(card for card in cards if card["card"] == number))

    def held(self) -> list[dict[str, Any]]:
        """Read what is held back."""
        return list(self.admin.get("/api/admin/overview")["quarantine"])

    def learned(self) -> None:
        """Wait until the cards' idle memory is known."""
        wait_until(lambda: self.card()["idle"], what="the baseline is learned")

    def until_shown(self, mib: int) -> None:
        """Wait until the page shows that much memory in use."""
        wait_until(lambda: self.card()["memory_used"] == mib * MIB, what=f"{mib} MiB are shown")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def npu(tmp_path: Path) -> NpuSmi:
    made = NpuSmi(tmp_path / "tool")
    made.shows(QUIET)
    return made


def test_memory_that_does_not_come_back_holds_the_port_back_until_an_admin_releases_it(
    tmp_path: Path, stack: ExitStack, npu: NpuSmi
) -> None:
    house = House(tmp_path, stack, npu, QUARANTINE_AFTER="2")
    house.learned()
    house.ann.start()
    npu.shows(LEFT)
    house.until_shown(21000)
    house.ann.post("/api/user/stop")
    (entry,) = wait_until(house.held, what="the port is held back") or []
    assert entry["reason"] == (
        "the memory of device 0 is not back: 21000 MiB in use, 2900 MiB when idle"
    )
    assert (entry["port"], entry["clear"]) == (house.port, False)
    assert house.ann.state()["phase"] == "held_back"
    refused = house.ann.ask("POST", "/api/user/start")
    assert refused.json()["error"]["key"] == "no_free_card.unavailable"
    # A tool that falls silent frees nothing, nor does a restart of the manager.
    npu.does("fails", "ret is -8005\n")
    house.manager.kill()
    house.manager.start()
    wait_until(lambda: house.card()["unknown"], what="the card is unknown")
    assert [one["clear"] for one in house.held()] == [False]
    npu.shows(QUIET)
    npu.stops("fails")
    wait_until(lambda: house.held()[0]["clear"], 90, "the page says that the reason has gone")
    assert house.ann.ask("POST", "/api/user/start").status_code == 409
    house.admin.post(f"/api/admin/ports/{house.port}/release")
    house.ann.start()
    house.ann.stop()
    assert house.held() == []


def test_a_port_is_released_when_its_memory_comes_back_late(
    tmp_path: Path, stack: ExitStack, npu: NpuSmi
) -> None:
    house = House(tmp_path, stack, npu, QUARANTINE_AFTER="60")
    house.learned()
    house.ann.start()
    npu.shows(LEFT)
    house.until_shown(21000)
    house.ann.post("/api/user/stop")
    wait_until(
        lambda: "not released yet: the memory" in house.manager.log_path.read_text("utf-8"),
        what="it is waited for",
    )
    assert house.ann.state()["phase"] == "stopping"
    npu.shows(QUIET)
    house.ann.until_gone()
    assert house.held() == []


def test_a_card_with_somebody_elses_process_is_not_given_out(
    tmp_path: Path, stack: ExitStack, npu: NpuSmi
) -> None:
    house = House(tmp_path, stack, npu)
    house.learned()
    stranger = subprocess.Popen(["sleep", "600"])
    stack.callback(stranger.wait)
    stack.callback(stranger.kill)
    theirs = CardProcess(stranger.pid, 9000 * MIB, "/usr/bin/python3")
    npu.shows([Npu(0, used=12000, processes=(theirs,)), Npu(1)])
    wait_until(lambda: house.card()["outside"], what="the process is shown")
    assert "python3" in house.card()["outside"]
    assert house.ann.state()["phase"] == "held_back"
    assert house.ann.ask("POST", "/api/user/start").status_code == 409
    with new_user(house.admin, "any") as anybody:
        assert anybody.start()["port"] == house.manager.ports[1]
        anybody.stop()
    npu.shows(QUIET)
    wait_until(lambda: house.ann.state()["phase"] == "idle", what="the card is free")
    house.ann.start()
    house.ann.stop()


@pytest.mark.parametrize("what", [("fails", "ret is -8005\n"), ("sleep", "600")])
def test_a_tool_that_cannot_say_holds_nothing_up_and_is_shown(
    tmp_path: Path, stack: ExitStack, npu: NpuSmi, what: tuple[str, str]
) -> None:
    house = House(tmp_path, stack, npu, CARD_TOOL_TIMEOUT="1")
    house.learned()
    npu.does(*what)
    wait_until(lambda: house.card()["unknown"], what="the card is unknown")
    assert house.card()["memory_used"] is None
    house.ann.start()
    house.ann.stop()
    assert house.held() == []
    npu.stops(what[0])
    wait_until(lambda: house.card()["memory_used"] == 2900 * MIB, what="it is known again")


def test_no_request_and_no_end_waits_for_a_tool(
    tmp_path: Path, stack: ExitStack, npu: NpuSmi
) -> None:
    npu.does("sleep", "600")
    house = House(tmp_path, stack, npu, CARD_TOOL_TIMEOUT="120")
    wait_until(lambda: len(npu.pids()) == 2, what="the tool hangs")
    house.ann.start()
    assert house.card()["looked"] is False
    assert len(_living(npu.pids())) == 2
    house.admin.post(f"/api/admin/ports/{house.port}/stop")
    assert house.ann.state()["phase"] == "stopping"
    # Nobody gets the card unseen; but when everything ends, nobody waits for the tool either.
    assert house.manager.run("stop").returncode == 0
    wait_until(lambda: not _living(npu.pids()), what="the tool is ended too")


NVIDIA = """index, uuid, name, utilization.gpu [%], memory.used [MiB], memory.total [MiB]
0, GPU-a, NVIDIA A100 80GB PCIe, 7 %, 10 MiB, 81920 MiB
1, GPU-b, NVIDIA A100 80GB PCIe, 0 %, 10 MiB, 81920 MiB
"""


@pytest.mark.parametrize(
    ("name", "words", "files", "memory"),
    [
        (
            "nvidia-smi",
            {"--query-gpu=*": "gpus", "--query-compute-apps=*": "apps"},
            {"gpus": NVIDIA, "apps": sample("nvidia-smi-query-compute-apps_empty")},
            81920 * MIB,
        ),
        (
            "rocm-smi",
            {"*--json": "cards"},
            {"cards": sample("rocm-smi-json_two")},
            34208743424,
        ),
    ],
)
def test_other_kinds_are_found_and_shown(
    tmp_path: Path,
    stack: ExitStack,
    name: str,
    words: dict[str, str],
    files: dict[str, str],
    memory: int,
) -> None:
    tool = Tool(tmp_path / "tool", name, words)
    for file, text in files.items():
        tool.prints(file, text)
    house = House(tmp_path, stack, tool)
    wait_until(lambda: house.card()["memory_total"], what="the card is read")
    assert house.card()["memory_total"] == memory
    assert house.card(2)["unknown"] == ""
