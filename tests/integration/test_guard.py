"""The guard around a real aiohttp application and around the demo: who gets in, who does not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from manager.launcher.guard import NOT_GUARDED, PROGRESS_PATH, TAB_SCRIPT
from manager.launcher.protocol import GUARD
from manager.records import GUARD_HEADER
from tests.support.demo import MAIN
from tests.support.gate import OPEN, Answer, knock, knock_websocket
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

SECRET = "aB3" + "x" * 29
SHOWN = [(GUARD_HEADER, SECRET)]
WRONG = {
    "none": [],
    "empty": [(GUARD_HEADER, "")],
    "other": [(GUARD_HEADER, "y" * 32)],
    "shorter": [(GUARD_HEADER, SECRET[:-1])],
    "longer": [(GUARD_HEADER, SECRET + "x")],
    "other case": [(GUARD_HEADER, SECRET.swapcase())],
    "not ascii": [(GUARD_HEADER, "é" * 32)],
    "twice": [(GUARD_HEADER, SECRET)] * 2,
    "with a wrong one": [(GUARD_HEADER, SECRET), (GUARD_HEADER, "y" * 32)],
    "joined": [(GUARD_HEADER, f"{SECRET}, {SECRET}")],
    "underscores": [(GUARD_HEADER.replace("-", "_"), SECRET)],
    "in a cookie": [("Cookie", f"{GUARD_HEADER}={SECRET}")],
}

# Built as ComfyUI builds its own (server.py): middlewares in the constructor, routes and static
# files later, an AppRunner at the end; and as custom nodes are known to change it.
COMFYUI = """
import asyncio, json, os, sys
from aiohttp import web
import neighbour

@web.middleware
async def own(request, handler):
    return await handler(request)

@web.middleware
async def greedy(request, handler):
    # A custom node's, put first: without the guard it would answer everybody.
    if request.path == "/greedy":
        return web.Response(text="greedy")
    return await handler(request)

async def tell(request):
    if request.path == "/" and "page" in request.query:
        # As ComfyUI serves its front page.
        page = web.FileResponse(os.path.join(os.path.dirname(__file__), "index.html"))
        page.headers["Cache-Control"] = "no-cache"
        return page
    seen = {name.lower(): value for name, value in request.headers.items()}
    raw = [name.decode().lower() for name, _ in request.raw_headers]
    return web.json_response({
        "headers": seen, "raw": raw, "argv": sys.argv, "path0": sys.path[0], "file": __file__,
        "name": __name__, "main": sys.modules["__main__"].__file__, "cwd": os.getcwd(),
        "neighbour": neighbour.__file__,
    })

async def upload(request):
    form = await request.post()
    return web.json_response({"size": len(form["image"].file.read())})

async def websocket(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str("status")
    async for message in socket:
        await socket.send_str(message.data)
    return socket

async def restart(request):
    os.execv(sys.executable, [sys.executable] + sys.argv)

async def main(port):
    app = web.Application(client_max_size=1 << 26, middlewares=[own])
    app.add_routes([
        web.get("/", tell), web.get("/queue", tell), web.get("/ws", websocket),
        web.post("/upload/image", upload), web.get("/restart", restart),
        web.static("/files", os.path.dirname(os.path.abspath(__file__))),
    ])
    inner = web.Application()
    inner.add_routes([web.get("/tell", tell)])
    app.add_subapp("/inner", inner)
    app.middlewares.insert(0, greedy)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()

if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[sys.argv.index("--port") + 1])))
"""
FRONT_PAGE = "<!DOCTYPE html><html><head><title>工作区</title></head><body></body></html>"
PATHS = ["/", "/queue", "/files/main.py", "/inner/tell", "/greedy", PROGRESS_PATH]
UNKNOWN_PATHS = ["/nothing", "/files/../../etc/passwd", "/inner/nothing"]
BODY = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + b"P" * 1000 + b"\r\n--b--\r\n"
)
FORM = ("Content-Type", "multipart/form-data; boundary=b")


@dataclass
class Guarded:
    """A running instance behind the guard."""

    child: subprocess.Popen[bytes]
    port: int
    folder: Path

    def answers(self) -> bool:
        assert self.child.poll() is None, (self.folder / "log").read_text()
        try:
            return knock(self.port, "/queue", SHOWN).status == 200
        except OSError:
            return False

    def upload(self, headers: list[tuple[str, str]]) -> Answer:
        return knock(self.port, "/upload/image", [*headers, FORM], "POST", BODY)


def environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}


@contextmanager
def guarded(folder: Path, framework: str, script: Path, *words: str) -> Iterator[Guarded]:
    port = free_port()
    secret = folder / "secret"
    secret.write_text(SECRET)
    argv = [sys.executable, str(GUARD), framework, str(secret), str(script)]
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(
            [*argv, "--port", str(port), *words],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    running = Guarded(child, port, folder)
    try:
        wait_until(running.answers, what="the guarded instance answers")
        yield running
    finally:
        child.kill()
        child.wait(timeout=20)


@pytest.fixture(scope="module")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("comfyui")
    script = folder / "app" / "main.py"
    script.parent.mkdir()
    script.write_text(COMFYUI)
    (script.parent / "neighbour.py").write_text("")
    (script.parent / "index.html").write_text(FRONT_PAGE, encoding="utf-8")
    with guarded(folder, "aiohttp", script, "--cpu") as running:
        yield running


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("demo")
    words = ["--listen", "127.0.0.1", "--demo-zero-boot"]
    for name in ("input", "output", "temp", "user"):
        (folder / name).mkdir()
        words += [f"--{name}-directory", str(folder / name)]
    with guarded(folder, "flask", MAIN, *words) as running:
        yield running


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG)
def test_nobody_without_the_secret_gets_anything(
    comfyui: Guarded, demo: Guarded, headers: list[tuple[str, str]]
) -> None:
    for instance in (comfyui, demo):
        port = instance.port
        for path in [*PATHS, *UNKNOWN_PATHS, "/static/demo.css", "/api/queue"]:
            for method in ("GET", "HEAD", "OPTIONS", "DELETE", "PROPFIND"):
                assert knock(port, path, headers, method).status == 403, (method, path)
        assert instance.upload(headers).status == 403
        assert knock_websocket(port, "/ws", headers) == 403
        expecting = [*headers, ("Expect", "100-continue")]
        assert knock(port, "/queue", expecting).status == 403
    assert not list((demo.folder / "input").iterdir())


def test_with_the_secret_everything_is_as_without_the_guard(
    comfyui: Guarded, demo: Guarded
) -> None:
    assert [knock(comfyui.port, path, SHOWN).status for path in PATHS] == [200] * 6
    assert [knock(comfyui.port, path, SHOWN).status for path in UNKNOWN_PATHS] == [404] * 3
    assert comfyui.upload(SHOWN).json() == {"size": 1000}
    assert [knock(demo.port, path, SHOWN).status for path in ("/", "/api/queue")] == [200] * 2
    assert knock(demo.port, "/static/demo.css", SHOWN).status == 200
    assert demo.upload(SHOWN).json()["name"] == "x.png"
    for instance in (comfyui, demo):
        assert knock_websocket(instance.port, "/ws", SHOWN) == OPEN
        assert knock_websocket(instance.port, "/ws?clientId=x", SHOWN) == OPEN


def test_the_front_page_alone_gets_the_gates_script(comfyui: Guarded, demo: Guarded) -> None:
    page = knock(comfyui.port, "/?page", SHOWN)
    told = FRONT_PAGE.encode().replace(b"<head>", b"<head>" + TAB_SCRIPT)
    assert page.body == told
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert page.headers["content-length"] == str(len(told))
    assert "etag" not in page.headers, "it would stand for a page without the script"
    assert TAB_SCRIPT not in knock(comfyui.port, "/files/index.html", SHOWN).body
    own = knock(demo.port, "/", SHOWN)
    assert own.body.count(TAB_SCRIPT) == 1
    assert own.body.index(b"<head>") < own.body.index(TAB_SCRIPT) < own.body.index(b"</head>")
    assert TAB_SCRIPT not in knock(demo.port, "/static/demo.css", SHOWN).body


def test_custom_nodes_do_not_see_the_secret(comfyui: Guarded) -> None:
    for path in ("/", "/inner/tell"):
        seen = knock(comfyui.port, path, [*SHOWN, ("X-Other", "1")]).json()
        assert seen["headers"]["x-other"] == "1"
        assert GUARD_HEADER.lower() not in seen["headers"]
        assert GUARD_HEADER.lower() not in seen["raw"]


def test_a_header_that_is_not_utf_8_costs_nobody_the_request(comfyui: Guarded) -> None:
    assert knock(comfyui.port, "/", [*SHOWN, ("X-Name", "caf\xe9")]).status == 200


def test_the_script_runs_as_if_it_were_run_alone(comfyui: Guarded, demo: Guarded) -> None:
    seen = knock(comfyui.port, "/", SHOWN).json()
    script = comfyui.folder / "app" / "main.py"
    assert seen["argv"] == [str(script), "--port", str(comfyui.port), "--cpu"]
    assert (seen["file"], seen["main"], seen["name"]) == (str(script), str(script), "__main__")
    assert seen["path0"] == str(script.parent)
    assert seen["neighbour"] == str(script.parent / "neighbour.py")
    assert seen["cwd"] == str(comfyui.folder)
    system = knock(demo.port, "/system_stats", SHOWN).json()["system"]
    assert system["argv"][:3] == [str(MAIN), "--port", str(demo.port)]


def test_a_restart_by_itself_keeps_the_guard(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(COMFYUI)
    (tmp_path / "neighbour.py").write_text("")
    with guarded(tmp_path, "aiohttp", tmp_path / "main.py") as running:
        before = knock(running.port, "/", SHOWN).json()
        with pytest.raises((OSError, requests.RequestException)):
            requests.get(
                f"http://127.0.0.1:{running.port}/restart",
                headers=dict(SHOWN),
                timeout=20,
            )
        wait_until(running.answers, what="it is back")
        assert knock(running.port, "/").status == 403
        assert knock(running.port, "/", SHOWN).json() == before


def refused(folder: Path, framework: str, secret: str, script: str) -> str:
    """Run what must not start; give what it said."""
    (folder / "main.py").write_text(f"open('started', 'w')\n{script}")
    argv = [sys.executable, str(GUARD), framework, secret, str(folder / "main.py")]
    done = subprocess.run(
        argv, cwd=folder, env=environment(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == NOT_GUARDED, done.stderr
    assert not (folder / "started").exists()
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("[guard] ComfyUI was not started, it cannot be guarded: ")
    return line


def test_without_a_secret_nothing_starts(tmp_path: Path) -> None:
    assert "cannot be read" in refused(tmp_path, "aiohttp", str(tmp_path / "none"), "")
    (tmp_path / "empty").touch()
    assert "holds no secret" in refused(tmp_path, "flask", str(tmp_path / "empty"), "")


@pytest.mark.parametrize(
    "web",
    [
        "raise ImportError('broken')",
        "",
        "class Application: pass",
        # One that forgets what it is given.
        "class Application:\n"
        "    pre_frozen = False\n"
        "    def __init__(self, middlewares): self.middlewares = list(middlewares)\n"
        "    def pre_freeze(self): self.middlewares = self.middlewares[1:]\n"
        "    def freeze(self): self.pre_freeze()\n"
        "def middleware(function): return function",
        # One that never asks.
        "class Application:\n"
        "    pre_frozen = False\n"
        "    def __init__(self, middlewares): self.middlewares = list(middlewares)\n"
        "    def pre_freeze(self): pass\n"
        "    def freeze(self): pass\n"
        "def middleware(function): return function",
    ],
)
def test_an_aiohttp_that_cannot_be_guarded_is_not_started(tmp_path: Path, web: str) -> None:
    (tmp_path / "aiohttp").mkdir()
    (tmp_path / "aiohttp" / "__init__.py").touch()
    (tmp_path / "aiohttp" / "web.py").write_text(web)
    (tmp_path / "secret").write_text(SECRET)
    assert SECRET not in refused(tmp_path, "aiohttp", str(tmp_path / "secret"), "")


def test_an_unknown_framework_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    assert "gopher" in refused(tmp_path, "gopher", str(tmp_path / "secret"), "")
