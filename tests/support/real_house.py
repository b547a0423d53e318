"""The real program with a real ComfyUI behind it, and people in Chromium who use it.

``real_house`` is a manager process on ports and in a folder of its own. ``Person`` is one browser
context: an account that logs in, starts, opens the workspace and draws.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from playwright.sync_api import Browser, BrowserContext, Page, Response

from tests.support.ports import free_port
from tests.support.real_comfyui import Install
from tests.support.server import OWN_PROGRAM, ManagerProcess
from tests.support.waiting import wait_until

COMFYUI_START_S = 240
"""A start takes 6 s of processor time; two at once beside Chromium on a busy machine, minutes."""

PAGE_S = 120
FIRST_PASSWORD = "given-by-the-admin-1"
OWN_PASSWORD = "chosen-by-the-person-2"


def real_house(
    folder: Path,
    comfyui: Install,
    rows: int,
    program: Sequence[str] = OWN_PROGRAM,
    **settings: str,
) -> ManagerProcess:
    """Give a manager, not yet started, that starts the real ComfyUI with its test nodes."""
    test_nodes = f"--extra-model-paths-config={comfyui.test_nodes_config}"
    real = {
        "COMFYUI_PATH": str(comfyui.source),
        "COMFYUI_PYTHON": str(comfyui.python),
        "COMFYUI_ARGS": shlex.join([test_nodes]),
        "START_TIMEOUT": str(COMFYUI_START_S),
    }
    return ManagerProcess(folder, rows=rows, settings=real | settings, program=program)


def port_state(house: ManagerProcess, port: int) -> str:
    """Ask the operator's ``status`` for a port."""
    found = json.loads(house.run("status", "--json").stdout)
    states = {row["port"]: str(row["state"]) for row in found["ports"]}
    return states[port]


@contextmanager
def served(
    argv: list[str], cwd: Path, folder: Path, headers: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run a server without a manager until the block ends; all it writes is in ``folder``.

    ``headers`` are what it asks of who wants an answer.
    """
    port = free_port()
    for name in ("input", "output", "temp", "user"):
        (folder / name).mkdir(parents=True)
        argv = [*argv, f"--{name}-directory", str(folder / name)]
    argv += ["--listen", "127.0.0.1", "--port", str(port), "--cpu", "--disable-api-nodes"]
    argv += ["--database-url", f"sqlite:///{folder / 'user' / 'comfyui.db'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_until(
            lambda: _answers(process, folder, port, headers),
            COMFYUI_START_S,
            "the server to answer",
        )
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _answers(
    process: subprocess.Popen[bytes], folder: Path, port: int, headers: Mapping[str, str] | None
) -> bool:
    assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
    try:
        return requests.get(f"http://127.0.0.1:{port}/queue", headers=headers, timeout=5).ok
    except requests.RequestException:
        return False


class Admin:
    """The admin, without a browser: makes accounts."""

    def __init__(self, house: ManagerProcess) -> None:
        self._url = house.url
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Origin"] = house.url
        self._send_form("/login", username="admin", password="admin123")
        new = {"new_password": OWN_PASSWORD, "repeat_password": OWN_PASSWORD}
        self._send_form("/password", old_password="admin123", **new)

    def create_user(self, username: str) -> None:
        page = self._session.get(f"{self._url}/admin", timeout=20).text
        token = re.findall(r'name="csrf-token" content="([^"]+)"', page)[0]
        made = self._session.post(
            f"{self._url}/api/admin/users",
            json={"username": username, "password": FIRST_PASSWORD},
            headers={"X-CSRFToken": token},
            timeout=20,
        )
        assert made.ok, made.text

    def close(self) -> None:
        self._session.close()

    def _send_form(self, path: str, **fields: str) -> None:
        page = self._session.get(self._url + path, timeout=20).text
        token = re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]
        answer = self._session.post(
            self._url + path, data={"csrf_token": token, **fields}, timeout=20
        )
        assert answer.ok, answer.text


# Queues one workflow through the page's own address and resolves with what arrived over the page's
# own websocket, and with the picture fetched through /view.
DRAW = """
async ({graph}) => {
  const api = window.app.api;
  const seen = [];
  const over = new Promise((resolve, reject) => {
    api.addEventListener("progress", ({detail}) => seen.push(["progress", detail.prompt_id]));
    api.addEventListener("execution_error", (e) => reject(new Error(JSON.stringify(e.detail))));
    api.addEventListener("executed", ({detail}) => resolve(detail));
  });
  const asked = await fetch("./api/prompt", {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({client_id: api.clientId, prompt: graph}),
  });
  if (!asked.ok) throw new Error(`${asked.status} ${await asked.text()}`);
  const {prompt_id} = await asked.json();
  window.drawing = over.then(async (detail) => {
    const image = detail.output.images[0];
    const view = await fetch("./api/view?" + new URLSearchParams(image));
    const bytes = new Uint8Array(await view.arrayBuffer());
    return {asked: prompt_id, arrived: detail.prompt_id, image, seen,
            status: view.status, head: Array.from(bytes.slice(0, 4))};
  });
  return prompt_id;
}
"""

ARRIVED = """
(limit_ms) => Promise.race([window.drawing, new Promise((_, refuse) => setTimeout(
    () => refuse(new Error("no picture arrived over the websocket")), limit_ms))])
"""

PNG_HEAD = [0x89, 0x50, 0x4E, 0x47]


def graph(prefix: str, color: int, sleep_s: float = 0) -> dict[str, Any]:
    """Give a workflow without a model; ``sleep_s`` puts ComfyUI's own test node in between."""
    empty = {"width": 64, "height": 64, "batch_size": 1, "color": color}
    nodes: dict[str, Any] = {"1": {"class_type": "EmptyImage", "inputs": empty}}
    source = "1"
    if sleep_s:
        inputs = {"value": ["1", 0], "seconds": sleep_s}
        nodes["2"], source = {"class_type": "TestSleep", "inputs": inputs}, "2"
    save = {"images": [source, 0], "filename_prefix": prefix}
    nodes["3"] = {"class_type": "SaveImage", "inputs": save}
    return nodes


@dataclass
class Person:
    """Somebody at a browser of their own."""

    name: str
    context: BrowserContext
    page: Page
    house: ManagerProcess
    workspace: Page | None = None
    link: str = ""

    @classmethod
    def arrives(cls, browser: Browser, house: ManagerProcess, name: str) -> Person:
        """Log in for the first time and choose a password."""
        context = browser.new_context(locale="en-US")
        page = context.new_page()
        person = cls(name, context, page, house)
        page.goto(f"{house.url}/login")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password", exact=True).fill(FIRST_PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_label("Current password").fill(FIRST_PASSWORD)
        page.get_by_label("New password", exact=True).fill(OWN_PASSWORD)
        page.get_by_label("New password again").fill(OWN_PASSWORD)
        page.get_by_role("button", name="Save new password").click()
        page.get_by_role("button", name="Start ComfyUI").wait_for()
        return person

    def click_start(self) -> None:
        self.page.get_by_role("button", name="Start ComfyUI").click()

    def open_workspace(self) -> Page:
        """Wait for the link, click it, and wait until ComfyUI's own page has loaded."""
        link = self.page.get_by_role("link", name="Open secure workspace")
        link.wait_for(timeout=COMFYUI_START_S * 1000)
        self.link = link.get_attribute("href") or ""
        with self.context.expect_page() as opened:
            link.click()
        self.workspace = opened.value
        self.workspace.set_default_timeout(PAGE_S * 1000)
        self.workspace.wait_for_function("() => window.app?.vueAppReady && window.app.api.clientId")
        return self.workspace

    @property
    def desk(self) -> Page:
        """Give the open workspace."""
        assert self.workspace is not None
        return self.workspace

    @property
    def port(self) -> int:
        """Give the ComfyUI port, which the link's token is named after."""
        return int(re.findall(r"token_(\d+)=", self.link)[0])

    @property
    def workspace_port(self) -> int:
        return self.house.workspace_ports[self.house.ports.index(self.port)]

    @property
    def external_port(self) -> int:
        return self.house.external_ports[self.house.ports.index(self.port)]

    @property
    def token(self) -> str:
        return self.link.rpartition("=")[2]

    @property
    def folder(self) -> Path:
        """Give the own directories on the server."""
        return next(self.house.data_dir.glob(f"workspaces/*-{self.name}-*"))

    def begin_drawing(self, graph: dict[str, Any]) -> str:
        """Queue a workflow and give its prompt id."""
        prompt_id: str = self.desk.evaluate(DRAW, {"graph": graph})
        return prompt_id

    def finished_drawing(self) -> dict[str, Any]:
        """Wait for the picture that ``begin_drawing`` asked for."""
        drawing: dict[str, Any] = self.desk.evaluate(ARRIVED, PAGE_S * 1000)
        return drawing

    def goto(self, url: str) -> int:
        """Open an address in a new tab of this browser and give the status."""
        tab = self.context.new_page()
        try:
            response: Response | None = tab.goto(url)
            assert response is not None
            return response.status
        finally:
            tab.close()

    def leaves(self) -> None:
        self.context.close()


@contextmanager
def arrived(browser: Browser, house: ManagerProcess, name: str) -> Iterator[Person]:
    """Have an account made, and its person come; he leaves at the end."""
    admin = Admin(house)
    admin.create_user(name)
    admin.close()
    person = Person.arrives(browser, house, name)
    yield person
    person.leaves()
