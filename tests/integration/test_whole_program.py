"""The whole program as it runs in production: eventlet, real Caddy, real process trees."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.client import Client, Workspace, first_admin, is_open, new_user
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

SETTINGS = {"COMFYUI_ARGS": "--demo-zero-boot", "STOP_TIMEOUT": "2"}
JOB = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "t"}},
}


class House:
    """A running manager with its admin and users a and b, each on a port of their own."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: str) -> None:
        self.manager = ManagerProcess(folder, settings={**SETTINGS, **settings})
        stack.enter_context(self.manager)
        self.admin = stack.enter_context(first_admin(self.manager))
        ports = self.manager.ports
        self.a = stack.enter_context(new_user(self.admin, "a", ports[0]))
        self.b = stack.enter_context(new_user(self.admin, "b", ports[1]))

    def log(self) -> str:
        return self.manager.log_path.read_text(encoding="utf-8")


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def house(tmp_path: Path, stack: ExitStack) -> House:
    return House(tmp_path, stack)


def _workspace(stack: ExitStack, url: str) -> Workspace:
    opened = Workspace(url)
    stack.callback(opened.close)
    return opened


def _until_done(workspace: Workspace) -> None:
    wait_until(lambda: workspace.get("/history").json(), what="the job is done")


def _dead(url: str) -> bool:
    return requests.get(url, timeout=30, allow_redirects=False).status_code == 403


def test_two_users_work_side_by_side_and_apart(house: House, stack: ExitStack) -> None:
    a, b = house.a.start(), house.b.start()
    assert (a["port"], b["port"]) == tuple(house.manager.ports)
    for mine, other in ((a, b), (b, a)):
        workspace = _workspace(stack, mine["workspace_url"])
        assert workspace.entered.status_code == 200
        assert "?" not in workspace.entered.url
        prompt = workspace.post("/prompt", {"prompt": JOB})
        assert prompt.ok, prompt.text
        _until_done(workspace)
        token = mine["workspace_url"].split("=")[1]
        for port in (other["workspace_port"], other["external_port"]):
            for name in (mine["port"], other["port"]):
                assert _dead(f"http://127.0.0.1:{port}/?token_{name}={token}")
        assert token not in house.log()
    folders = sorted((house.manager.data_dir / "workspaces").iterdir())
    assert [len(list((f / "output").glob("*.png"))) for f in folders] == [1, 1]


def test_the_idle_limit_frees_the_port_and_kills_the_link(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, IDLE_TIMEOUT="2", QUEUE_CHECK_INTERVAL="0.2")
    url = house.a.start()["workspace_url"]
    workspace = _workspace(stack, url)
    tab = workspace.socket()
    state = house.a.until_gone()
    assert state["last_usage"]["end_reason"] == "idle"
    assert not is_open(tab)
    assert _dead(url)
    assert workspace.get("/").status_code == 403
    again = house.a.start()
    assert again["workspace_url"] != url
    assert _dead(url)


def test_a_running_job_is_not_idle(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, IDLE_TIMEOUT="1", QUEUE_CHECK_INTERVAL="0.1")
    workspace = _workspace(stack, house.a.start()["workspace_url"])
    slow = {**JOB, "3": {"class_type": "Sleep", "inputs": {"seconds": 4, "value": ["1", 0]}}}
    slow["2"] = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "t"}}
    assert workspace.post("/prompt", {"prompt": slow}).ok
    state = house.a.until_gone()
    assert state["last_usage"]["end_reason"] == "idle"
    (folder,) = [f for f in (house.manager.data_dir / "workspaces").iterdir() if "-a-" in f.name]
    assert len(list((folder / "output").glob("*.png"))) == 1


def test_fifty_tabs_of_one_user_outlive_fifty_starts_of_another(
    house: House, stack: ExitStack
) -> None:
    workspace = _workspace(stack, house.a.start()["workspace_url"])
    with ThreadPoolExecutor(10) as pool:
        tabs = list(pool.map(lambda _: workspace.socket(), range(50)))
    for _ in range(50):
        house.b.start()
        house.b.stop()
    assert all(is_open(tab) for tab in tabs)
    house.a.stop()
    assert not any(is_open(tab) for tab in tabs)


def test_a_restart_of_the_manager_is_not_felt(house: House, stack: ExitStack) -> None:
    before = house.a.start()
    workspace = _workspace(stack, before["workspace_url"])
    tab = workspace.socket()
    for end in ("stop", "kill"):
        process = house.manager.process
        assert process is not None
        if end == "stop":
            assert house.manager.run("stop", "--keep-instances").returncode == 0
        else:
            process.kill()
        process.wait(30)
        assert workspace.get("/queue").ok
        house.manager.start()
        after = house.a.until_running()
        assert (after["workspace_url"], after["started_at"]) == (
            before["workspace_url"],
            before["started_at"],
        )
        assert is_open(tab)
    house.a.stop()
    assert not is_open(tab)


@pytest.mark.parametrize(
    ("args", "reason", "said"),
    [
        ("--demo-exit-at-start 3", "died", "exit code 3"),
        ("--demo-never-answer", "overdue", "no answer within 2 s"),
        ("--no-such-flag", "died", "exit code 2"),
    ],
)
def test_a_start_that_fails_says_why_and_frees_the_port(
    tmp_path: Path, stack: ExitStack, args: str, reason: str, said: str
) -> None:
    # Only who never answers may run out of time: on a busy machine a start takes long.
    limit = {"START_TIMEOUT": "2"} if reason == "overdue" else {}
    house = House(tmp_path, stack, COMFYUI_ARGS=args, **limit)
    house.a.post("/api/user/start")
    state = house.a.until_gone()
    assert state["last_usage"]["end_reason"] == reason
    assert said in state["last_usage"]["fault"]
    assert state["phase"] == "failed"


def test_a_killed_instance_is_shown_and_the_card_goes_on(house: House, stack: ExitStack) -> None:
    url = house.a.start()["workspace_url"]
    with sqlite3.connect(house.manager.folder / "comfyui_manager.db") as database:
        (pid,) = database.execute(
            "SELECT process_id FROM port_status WHERE status = 'running'"
        ).fetchone()
    database.close()
    os.kill(pid, signal.SIGKILL)
    state = house.a.until_gone()
    assert state["last_usage"]["end_reason"] == "died"
    assert "signal 9" in state["last_usage"]["fault"]
    assert _dead(url)
    house.a.start()


def test_what_will_not_end_is_killed_with_all_it_started(tmp_path: Path, stack: ExitStack) -> None:
    args = "--demo-zero-boot --demo-ignore-sigterm --demo-spawn-grandchildren 4"
    house = House(tmp_path, stack, COMFYUI_ARGS=args, STOP_TIMEOUT="0.5")
    house.a.start()
    house.a.stop()
    (folder,) = (house.manager.data_dir / "workspaces").iterdir()
    # The manager's own walker sums up what the folder takes, when its user has stopped.
    held = [words for words in map(_words, house.manager.processes()) if str(folder) in words]
    assert [words for words in held if "/walker.py" not in words] == []


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_a_stranger_on_the_port_is_named_and_left_alone(house: House, stack: ExitStack) -> None:
    with socket.create_server(("127.0.0.1", house.manager.ports[0])) as stranger:
        house.a.post("/api/user/start")
        state = house.a.until_gone()
        assert "is taken by another program" in state["last_usage"]["fault"]
        assert stranger.fileno() >= 0
    house.a.start()


def test_everything_on_disk_is_for_this_account_alone(house: House, stack: ExitStack) -> None:
    house.a.start()
    folder = house.manager.folder
    for name in ("comfyui_manager.db", "manager.log", "Caddyfile", "data/secret_key"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    for path in [folder / "data", *(folder / "data").rglob("*")]:
        if not path.is_symlink():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_an_admin_stops_a_port_and_a_disabled_user_is_out_at_once(
    house: House, stack: ExitStack
) -> None:
    port = house.a.start()["port"]
    house.admin.post(f"/api/admin/ports/{port}/stop")
    assert house.a.until_gone()["last_usage"]["end_reason"] == "admin"
    house.a.start()
    users = house.admin.get("/api/admin/overview")["users"]
    (user_id,) = [u["id"] for u in users if u["username"] == "a"]
    assert house.admin.ask("PATCH", f"/api/admin/users/{user_id}", {"is_active": False}).ok
    assert house.a.ask("GET", "/api/user/state").status_code == 401

    def freed() -> bool:
        ports = house.admin.get("/api/admin/overview")["ports"]
        return [p["state"] for p in ports if p["port"] == port] == ["idle"]

    wait_until(freed, what="the port is free")


def test_the_operators_stop_ends_everything_and_status_says_so(
    house: House, stack: ExitStack
) -> None:
    url = house.a.start()["workspace_url"]
    before = house.manager.run("status")
    assert before.returncode == 0
    assert f"port {house.manager.ports[0]} (card 1): running a" in before.stdout
    stopped = house.manager.run("stop")
    assert stopped.returncode == 0, stopped.stderr
    assert "ending a's ComfyUI" in stopped.stdout
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)
    after = house.manager.run("status")
    assert after.returncode == 3
    assert "manager: not running" in after.stdout
    shipped = Path(__file__).resolve().parent.parent.parent / "Caddyfile"
    left = (house.manager.folder / "Caddyfile").read_text().split("# >>>")[1]
    assert re.search("token_[0-9]", left) is None
    assert shipped.exists()


def test_the_log_can_be_searched_by_port(house: House, stack: ExitStack) -> None:
    house.a.start()

    def logged(words: str) -> bool:
        lines = [x for x in house.log().splitlines() if f"端口 {house.manager.ports[0]}" in x]
        return any(words in line for line in lines)

    # A move is on disk, where the next question finds it, a moment before it is in the log.
    for words in ("idle -> starting", "starting -> running"):
        wait_until(partial(logged, words), what=words)


def test_the_server_says_nothing_on_its_standard_streams(house: House, stack: ExitStack) -> None:
    house.a.start()
    house.a.stop()
    printed = house.manager.output_path.read_text(encoding="utf-8")
    assert printed == f"ComfyUI Multi-User Manager: {house.manager.url}\n"
    assert "ERROR" not in house.log()
    assert "Traceback" not in house.log()


def test_a_second_manager_is_refused_and_disturbs_nobody(house: House, stack: ExitStack) -> None:
    url = house.a.start()["workspace_url"]
    second = house.manager.run("serve")
    assert second.returncode == 1
    assert "another manager is using" in second.stderr
    assert _workspace(stack, url).entered.ok


def _gate_problem(house: House) -> str:
    return str(house.admin.get("/api/admin/overview")["gate"]["problem"] or "")


def test_without_caddy_the_pages_work_and_say_so(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, CADDY_PATH="/no/such/caddy")
    assert "CADDY_PATH" in _gate_problem(house)
    refused = house.a.ask("POST", "/api/user/start")
    assert refused.status_code == 409
    assert "Caddy" in refused.json()["error"]["message"]


def test_a_caddyfile_broken_by_hand_is_named_and_nothing_is_lost(
    house: House, stack: ExitStack
) -> None:
    url = house.a.start()["workspace_url"]
    good = house.manager.caddyfile.read_text(encoding="utf-8")
    house.manager.caddyfile.write_text("nonsense {\n" + good, encoding="utf-8")
    house.b.post("/api/user/start")
    wait_until(lambda: "Caddyfile" in _gate_problem(house), what="the problem is shown")
    assert _workspace(stack, url).entered.ok
    house.manager.caddyfile.write_text(good, encoding="utf-8")
    house.b.until_running()
    assert _gate_problem(house) == ""


def test_a_caddy_that_is_killed_comes_back_with_the_same_links(
    house: House, stack: ExitStack
) -> None:
    url = house.a.start()["workspace_url"]
    status = json.loads(house.manager.run("status", "--json").stdout)
    os.kill(status["caddy"]["pid"], signal.SIGKILL)

    def back() -> bool:
        try:
            return requests.get(url, timeout=5).ok
        except requests.ConnectionError:
            return False

    wait_until(back, what="Caddy is back")


def test_a_workspace_that_cannot_be_written_says_which(house: House, stack: ExitStack) -> None:
    (house.manager.data_dir / "workspaces").write_text("a file in the way")
    house.a.post("/api/user/start")
    fault = house.a.until_gone()["last_usage"]["fault"]
    assert str(house.manager.data_dir / "workspaces") in fault
    (house.manager.data_dir / "workspaces").unlink()
    house.a.start()


def test_the_same_in_threading_mode(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, ASYNC_MODE="threading")
    workspace = _workspace(stack, house.a.start()["workspace_url"])
    assert workspace.entered.ok
    house.a.stop()


def test_many_logins_at_once_do_not_stop_the_clock(house: House, stack: ExitStack) -> None:
    """Password hashes run beside the loop: the queue checks keep their beat meanwhile."""
    house.a.start()
    before = _skipped_and_checked(house)

    def login(number: int) -> bool:
        try:
            Client(house.manager, "b", f"wrong {number}").close()
        except AssertionError:
            return True
        except requests.HTTPError as error:
            return error.response.status_code in {401, 429}
        return False

    with ThreadPoolExecutor(20) as pool:
        assert all(pool.map(login, range(20)))
    wait_until(lambda: _skipped_and_checked(house) > before, what="another check")


def _skipped_and_checked(house: House) -> float:
    ports = house.admin.get("/api/admin/overview")["ports"]
    return max(p["idle_seconds"] or 0 for p in ports)
