"""The guard around the real ComfyUI: nobody gets in directly, everything works through the gate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from tests.support.client import Client, Workspace, first_admin, is_open, new_user
from tests.support.gate import knock, knock_websocket
from tests.support.real_comfyui import Install
from tests.support.real_house import COMFYUI_START_S, PNG_HEAD, graph, real_house
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.real_comfyui, pytest.mark.timeout(900)]

SLEEP_S = 4.0
PATHS = (
    *("/", "/queue", "/api/queue", "/prompt", "/api/system_stats", "/object_info", "/history"),
    *("/view?filename=x.png", "/internal/logs", "/user.css", "/extensions/core/a.js", "/nothing"),
)
IMAGE = {"image": ("x.png", b"\x89PNG" + b"P" * 1000, "image/png")}


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def house(
    tmp_path_factory: pytest.TempPathFactory, comfyui: Install, stack: ExitStack
) -> ManagerProcess:
    return stack.enter_context(real_house(tmp_path_factory.mktemp("guard"), comfyui, rows=1))


@pytest.fixture(scope="module")
def user(house: ManagerProcess, stack: ExitStack) -> Client:
    admin = stack.enter_context(first_admin(house))
    return stack.enter_context(new_user(admin, "guarded"))


@pytest.fixture(scope="module")
def instance(user: Client) -> dict[str, Any]:
    user.post("/api/user/start")
    wait_until(lambda: user.state()["phase"] == "running", COMFYUI_START_S, "ComfyUI runs")
    found: dict[str, Any] = user.state()["instance"]
    return found


@pytest.fixture(scope="module")
def workspace(instance: dict[str, Any], stack: ExitStack) -> Workspace:
    opened = Workspace(instance["workspace_url"])
    stack.callback(opened.close)
    return opened


def test_a_direct_connection_gets_403_whatever_it_asks(instance: dict[str, Any]) -> None:
    port = instance["port"]
    for path in PATHS:
        for method in ("GET", "HEAD", "OPTIONS"):
            assert knock(port, path, method=method).status == 403, (method, path)
    for path in ("/ws", "/ws?clientId=x", "/api/ws"):
        assert knock_websocket(port, path) == 403
    url = f"http://127.0.0.1:{port}"
    body = {"prompt": graph("direct", 0x010203)}
    for path in ("/prompt", "/api/prompt", "/interrupt", "/free", "/queue"):
        assert requests.post(url + path, json=body, timeout=30).status_code == 403
    assert requests.post(f"{url}/upload/image", files=IMAGE, timeout=30).status_code == 403


def test_through_the_gate_everything_works(workspace: Workspace) -> None:
    assert workspace.entered.ok
    assert "<title>ComfyUI" in workspace.entered.text
    for path in ("/queue", "/api/queue", "/object_info", "/api/settings", "/internal/logs"):
        assert workspace.get(path).ok, path
    assert workspace.get("/nothing").status_code == 404
    headers = {"Origin": workspace.base}
    sent = workspace.session.post(
        f"{workspace.base}/upload/image", files=IMAGE, headers=headers, timeout=30
    )
    assert sent.json() == {"name": "x.png", "subfolder": "", "type": "input"}
    assert workspace.get("/view?filename=x.png&type=input").content.startswith(b"\x89PNG")


def test_comfyui_was_run_as_if_alone(workspace: Workspace, comfyui: Install) -> None:
    argv = workspace.get("/system_stats").json()["system"]["argv"]
    assert argv[0] == str(comfyui.source / "main.py")
    assert argv[1] == "--listen"
    assert not [word for word in argv if word.endswith(("guard.py", "/secret"))]


def test_a_job_runs_arrives_over_the_websocket_and_is_seen_by_the_watch(
    user: Client, workspace: Workspace
) -> None:
    tab = workspace.socket("visitor")
    body = {"prompt": graph("guarded", 0x0A0B0C, sleep_s=SLEEP_S), "client_id": "visitor"}
    prompt_id = workspace.post("/prompt", body).json()["prompt_id"]

    def busy() -> bool:
        return bool(user.state()["instance"]["running"])

    wait_until(busy, 30, "the watch sees the job")
    image = _picture(tab, prompt_id)
    picture = workspace.get(f"/view?filename={image['filename']}&type=output").content
    assert list(picture[:4]) == PNG_HEAD
    wait_until(lambda: not busy(), 30, "the watch sees that it is over")
    assert is_open(tab)
    tab.close()


def _picture(tab: websocket.WebSocket, prompt_id: str) -> dict[str, Any]:
    while True:
        message = tab.recv()
        event = json.loads(message) if isinstance(message, str) else {}
        if event.get("type") == "executed" and event["data"]["prompt_id"] == prompt_id:
            image: dict[str, Any] = event["data"]["output"]["images"][0]
            return image


def test_custom_nodes_see_no_secret_in_what_comfyui_logs(
    house: ManagerProcess, instance: dict[str, Any]
) -> None:
    (run,) = (house.data_dir / "runs").iterdir()
    secret = (run / "secret").read_text()
    assert secret not in (run / "log").read_text(errors="replace")
    assert secret not in Path(house.log_path).read_text()
    assert knock(instance["port"], "/queue", {"X-ComfyUI-Manager-Secret": secret}).status == 200
