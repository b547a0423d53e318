"""The whole program: who connects to an instance past the gate gets 403."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests

from manager.records import GUARD_HEADER
from tests.integration.test_whole_program import JOB, House
from tests.support.client import Workspace, is_open
from tests.support.gate import knock, knock_websocket
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

UPLOAD = {"image": ("x.png", b"P" * 1000, "image/png")}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def house(tmp_path: Path, stack: ExitStack) -> House:
    return House(tmp_path, stack, QUEUE_CHECK_INTERVAL="0.2")


def _enter(stack: ExitStack, instance: dict[str, Any]) -> Workspace:
    workspace = Workspace(instance["workspace_url"])
    stack.callback(workspace.close)
    assert workspace.entered.ok
    return workspace


def _column(house: House, name: str, port: int) -> Any:
    with closing(sqlite3.connect(house.manager.folder / "comfyui_manager.db")) as database:
        return database.execute(
            f"SELECT {name} FROM port_status WHERE port = ?", (port,)
        ).fetchone()[0]


def _everybody_is_refused(port: int) -> None:
    for path in ("/", "/queue", "/api/queue", "/history", "/static/demo.css", "/nothing"):
        assert knock(port, path).status == 403, path
    assert knock_websocket(port, "/ws") == 403
    assert knock_websocket(port, "/ws?clientId=x") == 403
    url = f"http://127.0.0.1:{port}"
    assert requests.post(f"{url}/upload/image", files=UPLOAD, timeout=30).status_code == 403
    assert requests.post(f"{url}/prompt", json={"prompt": JOB}, timeout=30).status_code == 403


def _everything_works(house: House, workspace: Workspace) -> None:
    for path in ("/", "/queue", "/api/queue", "/static/demo.css"):
        assert workspace.get(path).ok, path
    assert workspace.get("/nothing").status_code == 404
    tab = workspace.socket()
    assert is_open(tab)
    tab.close()
    headers = {"Origin": workspace.base}
    sent = workspace.session.post(
        f"{workspace.base}/upload/image", files=UPLOAD, headers=headers, timeout=30
    )
    assert sent.ok
    before = len(workspace.get("/history").json())
    assert workspace.post("/prompt", {"prompt": JOB}).ok
    wait_until(lambda: len(workspace.get("/history").json()) > before, what="the job is done")


def _watched(house: House, port: int) -> bool:
    """Tell whether the watch hears what is in the queue: idle seconds grow by its answers alone."""
    rows = house.admin.get("/api/admin/overview")["ports"]
    (row,) = [row for row in rows if row["port"] == port]
    return bool(row["responding"]) and (row["idle_seconds"] or 0) > 0


def test_only_the_gate_and_the_watch_get_in(house: House, stack: ExitStack) -> None:
    instance = house.a.start()
    port = instance["port"]
    workspace = _enter(stack, instance)
    _everybody_is_refused(port)
    _everything_works(house, workspace)
    wait_until(lambda: _watched(house, port), what="the watch hears it")
    bearer = {"Authorization": f"Bearer {instance['workspace_url'].split('=')[1]}"}
    external = f"http://127.0.0.1:{instance['external_port']}/queue"
    assert requests.get(external, headers=bearer, timeout=30).ok

    # One user's secret opens nobody else's.
    other = house.b.start()["port"]
    secret = _column(house, "secret", port)
    assert knock(port, "/queue", {GUARD_HEADER: secret}).status == 200
    assert knock(other, "/queue", {GUARD_HEADER: secret}).status == 403


def test_the_secret_is_where_it_must_be_and_nowhere_else(house: House, stack: ExitStack) -> None:
    instance = house.a.start()
    port = instance["port"]
    workspace = _enter(stack, instance)
    secret, launch_id, pid = (
        _column(house, name, port) for name in ("secret", "launch_id", "process_id")
    )
    assert len(secret) >= 32
    assert secret.isalnum()
    run = house.manager.data_dir / "runs" / launch_id
    assert (run / "secret").stat().st_mode & 0o077 == 0
    assert secret in house.manager.caddyfile.read_text()
    assert house.manager.caddyfile.stat().st_mode & 0o077 == 0
    for name in ("cmdline", "environ"):
        assert secret.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    argv = workspace.get("/system_stats").json()["system"]["argv"]
    assert argv[0].endswith("demo/main.py")
    assert argv[1:3] == ["--listen", "127.0.0.1"]

    # An upstream that is gone makes Caddy write about the request.
    os.kill(pid, signal.SIGKILL)
    assert workspace.get("/queue").status_code in {403, 502}
    house.a.until_gone()
    assert _column(house, "secret", port) is None
    caddyfile = house.manager.caddyfile
    wait_until(lambda: secret not in caddyfile.read_text(), what="the gate is closed")
    texts = [path for path in house.manager.data_dir.rglob("*") if path.is_file()]
    texts += [house.manager.log_path, house.manager.output_path]
    holding = [p for p in texts if p != run / "secret" and secret.encode() in p.read_bytes()]
    assert holding == []
    with closing(sqlite3.connect(house.manager.folder / "comfyui_manager.db")) as database:
        dump = [line for line in database.iterdump() if secret in line]
    assert dump == []
    second = house.a.start()["port"]
    assert _column(house, "secret", second) != secret


def test_an_adopted_instance_keeps_its_guard_and_its_ways_in(
    house: House, stack: ExitStack
) -> None:
    instance = house.a.start()
    workspace = _enter(stack, instance)
    tab = workspace.socket()
    stack.callback(tab.close)
    for end in ("stop", "kill"):
        process = house.manager.process
        assert process is not None
        if end == "stop":
            assert house.manager.run("stop", "--keep-instances").returncode == 0
        else:
            process.kill()
        process.wait(30)
        house.manager.start()
        house.a.until_running()
        assert is_open(tab)
        _everything_works(house, workspace)
        _everybody_is_refused(instance["port"])
        wait_until(lambda: _watched(house, instance["port"]), what="the watch hears it")


def test_an_instance_of_before_the_guard_is_adopted_as_it_is(
    house: House, stack: ExitStack
) -> None:
    """What an older version left running asks for nothing; its users notice nothing."""
    instance = house.a.start()
    workspace = _enter(stack, instance)
    port = instance["port"]
    assert house.manager.run("stop", "--keep-instances").returncode == 0
    database = house.manager.folder / "comfyui_manager.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE port_status SET secret = NULL")
    house.manager.start()
    house.a.until_running()
    shown = f'comfyui_proxy 127.0.0.1:{port} -{GUARD_HEADER} ""'
    wait_until(lambda: house.manager.caddyfile.read_text().count(shown) == 3, what="the gate")
    # This one does ask: that is how one sees that the gate shows nothing any more.
    assert workspace.get("/queue").status_code == 403


UNGUARDED = {
    # Neither of the frameworks that the guard knows.
    "another server": """
import http.server, json, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"queue_running": [], "queue_pending": []}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer).serve_forever()
""",
    # The right one, with the guard taken out by a custom node.
    "a guard taken out": """
import sys
from aiohttp import web
async def queue(request):
    return web.json_response({"queue_running": [], "queue_pending": []})
class Open(web.Application):
    def pre_freeze(self):
        super().pre_freeze()
        self._middlewares_handlers = ()
        self._run_middlewares = False
app = Open()
app.router.add_get("/queue", queue)
port = int(sys.argv[sys.argv.index("--port") + 1])
web.run_app(app, host="127.0.0.1", port=port, print=None)
""",
}


@pytest.mark.parametrize("script", UNGUARDED.values(), ids=UNGUARDED)
def test_an_instance_that_lets_strangers_in_never_gets_a_gate(
    tmp_path: Path, stack: ExitStack, script: str
) -> None:
    (tmp_path / "comfyui").mkdir()
    (tmp_path / "comfyui" / "main.py").write_text(script)
    house = House(
        tmp_path,
        stack,
        COMFYUI_PATH=str(tmp_path / "comfyui"),
        COMFYUI_PYTHON=sys.executable,
        COMFYUI_ARGS="",
    )
    house.a.post("/api/user/start")
    state = house.a.until_gone()
    assert state["last_usage"]["end_reason"] == "launch_failed"
    assert "answers without its secret" in state["last_usage"]["fault"]
    assert state["last_usage"]["ready_at"] is None
    assert GUARD_HEADER not in house.manager.caddyfile.read_text()


def test_what_cannot_be_guarded_is_not_started_and_says_so(
    tmp_path: Path, stack: ExitStack
) -> None:
    folder = tmp_path / "comfyui"
    folder.mkdir()
    (folder / "main.py").write_text("open('started', 'w')")
    (folder / "aiohttp.py").write_text("raise ImportError('no aiohttp here')")
    python = shutil.which("python3") or sys.executable
    house = House(tmp_path, stack, COMFYUI_PATH=str(folder), COMFYUI_PYTHON=python, COMFYUI_ARGS="")
    house.a.post("/api/user/start")
    fault = house.a.until_gone()["last_usage"]["fault"]
    assert "exit code 78" in fault
    assert "it cannot be guarded" in fault
    assert not (folder / "started").exists()
