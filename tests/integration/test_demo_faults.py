"""The demo's process: start, end, refusals, and each way of failing; also below the launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from manager.launcher.command import build_command
from manager.launcher.local import LocalLauncher
from manager.launcher.protocol import LaunchSpec, Liveness
from manager.ports import make_row
from manager.settings import Settings
from manager.workspace import prepare
from tests.support.demo import IMAGE, MAIN, ready_demo, running_demo, sleep_graph
from tests.support.launcher import ONE, launching, wait_gone, wait_log, with_marker
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[LocalLauncher]:
    with launching(tmp_path / "runs") as launcher:
        yield launcher


def launch(launcher: LocalLauncher, tmp_path: Path, *flags: str) -> int:
    """Start the demo as the manager does and give its port."""
    port = free_port()
    settings = replace(
        Settings(),
        comfyui_path=tmp_path / "nothing",
        data_dir=tmp_path / "data",
        comfyui_args=("--demo-zero-boot", *flags),
    )
    row = make_row(port, 9001, 9081, 1)
    place = prepare(settings, "1-alice-ab")
    command = build_command(settings, row, "cpu", place, ONE)
    launcher.start(LaunchSpec(ONE, command.argv, command.env, command.cwd, 1 << 20, port=port))
    return port


@pytest.mark.parametrize(
    "flags",
    [["--no-such-flag"], ["--port", "x"], ["--user-directory", "/nowhere"], ["--cpu", "--lowvram"]],
)
def test_a_wrong_command_line_is_usage_and_2(flags: list[str]) -> None:
    ended = subprocess.run([sys.executable, MAIN, *flags], check=False, capture_output=True)
    assert ended.returncode == 2
    assert b"usage:" in ended.stderr


def test_a_taken_port_is_1_and_says_so(tmp_path: Path) -> None:
    with ready_demo(tmp_path / "a") as first:
        with running_demo(tmp_path / "b", "--demo-zero-boot", port=first.port) as second:
            assert second.child.wait(timeout=20) == 1
            assert f"Port {first.port} is already in use" in second.log()
        assert first.answers()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -15), (signal.SIGINT, 0)])
def test_it_ends_when_asked_also_at_work(tmp_path: Path, number: int, code: int) -> None:
    with ready_demo(tmp_path) as demo:
        demo.submit(sleep_graph(600))
        wait_until(lambda: demo.remaining() == 1)
        demo.child.send_signal(number)
        assert demo.child.wait(timeout=20) == code


def test_boot_lines_come_before_the_port_opens(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--demo-slow-start", "600") as demo:
        wait_until(lambda: "not ComfyUI" in demo.log(), what="the first line")
        assert not demo.answers()
        assert demo.child.poll() is None


def test_never_answer_lives_and_refuses_connections(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--demo-never-answer", "--demo-spawn-grandchildren", "0") as demo:
        with pytest.raises(AssertionError):
            wait_until(demo.answers, timeout_s=0.5)
        assert demo.child.poll() is None


def test_exit_at_start_prints_a_traceback_and_the_code(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--demo-exit-at-start", "7") as demo:
        assert demo.child.wait(timeout=20) == 7
        assert "Traceback (most recent call last)" in demo.log()


def test_hang_http_accepts_and_never_answers(tmp_path: Path) -> None:
    with running_demo(tmp_path, "--demo-zero-boot", "--demo-hang-http") as demo:
        wait_until(lambda: "To see the GUI" in demo.log(), what="ready")
        with pytest.raises(requests.ReadTimeout):
            requests.get(demo.url + "/queue", timeout=0.5)


@pytest.mark.parametrize("path", ["/queue", "/api/prompt"])
def test_lies_about_the_queue(tmp_path: Path, path: str) -> None:
    with ready_demo(tmp_path, "--demo-lie-queue", "idle") as demo:
        demo.submit(sleep_graph(600))
        assert demo.get(path).json()["exec_info"]["queue_remaining"] == 0
        assert demo.get(path).json()["queue_running"] == []


@pytest.mark.parametrize(
    ("lie", "code", "start"),
    [
        ("garbage", 200, b'{"queue_running": [\x00\xff'),
        ("negative", 200, b'{"queue_running": -1'),
        ("html", 200, b"<!doctype html>"),
        ("500", 500, b"500 Internal"),
        ("huge", 200, b'{"queue_running": ["xxx'),
    ],
)
def test_nonsense_about_the_queue(tmp_path: Path, lie: str, code: int, start: bytes) -> None:
    with running_demo(tmp_path, "--demo-zero-boot", "--demo-lie-queue", lie) as demo:
        wait_until(lambda: "To see the GUI" in demo.log(), what="ready")
        answer = demo.get("/queue")
        assert answer.status_code == code
        assert answer.content.startswith(start)
        assert (len(answer.content) > 50 << 20) == (lie == "huge")
        # The work itself is honest.
        assert demo.entry(demo.submit(IMAGE))["status"]["completed"] is True


def test_the_managers_command_line_runs_it_and_the_port_is_proven_ours(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    port = launch(launcher, tmp_path)
    wait_until(lambda: launcher.answers_itself(ONE), what="listening")
    argv = requests.get(f"http://127.0.0.1:{port}/system_stats", timeout=10).json()["system"][
        "argv"
    ]
    assert argv[argv.index("--output-directory") + 1].endswith("1-alice-ab/output")
    launcher.stop(ONE, force=False)
    assert wait_gone(launcher, ONE).exit_code == -signal.SIGTERM
    assert launcher.answers_itself(ONE) is None


def test_a_crash_leaves_code_and_last_words(launcher: LocalLauncher, tmp_path: Path) -> None:
    launch(launcher, tmp_path, "--demo-crash-after", "0")
    assert wait_gone(launcher, ONE).exit_code == 1
    assert "RuntimeError: demo crash" in launcher.logs(ONE, 2000)


def test_a_deaf_one_with_grandchildren_is_ended_by_force_whole(
    launcher: LocalLauncher, tmp_path: Path
) -> None:
    launch(launcher, tmp_path, "--demo-ignore-sigterm", "--demo-spawn-grandchildren", "6")
    wait_log(launcher, ONE, "To see the GUI")
    children = wait_until(lambda: tree_of(launcher) if len(tree_of(launcher)) >= 7 else [])
    launcher.stop(ONE, force=False)
    assert launcher.poll(ONE).liveness is Liveness.ALIVE
    launcher.stop(ONE, force=True)
    wait_gone(launcher, ONE)
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert with_marker(ONE) == []


def test_a_flood_is_capped(launcher: LocalLauncher, tmp_path: Path) -> None:
    launch(launcher, tmp_path, "--demo-flood")
    log = tmp_path / "runs" / ONE / "log"
    wait_until(lambda: log.with_name("log.1").exists(), what="rotation")
    wait_until(lambda: log.stat().st_size < 1 << 20, what="truncation")
    assert "demo flood" in launcher.logs(ONE, 4096)


def tree_of(launcher: LocalLauncher) -> list[int]:
    """List the main process and all that the supervisor adopted or is above."""
    main = launcher.poll(ONE).pid
    assert main is not None
    session = os.getsid(main)
    found = subprocess.run(
        ["ps", "-eo", "pid,ppid,sid"], check=True, capture_output=True, text=True
    )
    rows = [tuple(map(int, line.split())) for line in found.stdout.splitlines()[1:]]
    chief = next(parent for pid, parent, _ in rows if pid == main)
    return [pid for pid, parent, sid in rows if sid == session or parent in {main, chief}]
