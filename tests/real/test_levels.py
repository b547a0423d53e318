"""The real ComfyUI at the levels of isolation with own accounts: all of it works, and stays so.

What it prints is compared with what the same ComfyUI prints on its own: confinement may add no
complaint. Without root the levels ``directories`` and ``sandbox`` are tried.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
import websocket

from manager.launcher import landlock
from manager.launcher.isolation import DIRECTORIES, SANDBOX, USER
from tests.support.client import Workspace, first_admin, new_user
from tests.support.gate import knock
from tests.support.hostile_house import Program, let_all_read
from tests.support.real_comfyui import Install
from tests.support.real_house import COMFYUI_START_S, PNG_HEAD, real_house, served
from tests.support.server import ROOT, ManagerProcess
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.real_comfyui, pytest.mark.timeout(900)]

AS_ROOT = os.geteuid() == 0
LEVELS = {"auto": SANDBOX, "named": USER if AS_ROOT else DIRECTORIES}
"""What is set and what must be in force: without a setting it is the highest."""

SLEEP_S = 1.0
COMPLAINT = re.compile(r"error|traceback|exception|denied|read-only|errno|failed|cannot", re.I)
CHANGES = re.compile(r"\d+|0x[0-9a-f]+")


@pytest.fixture(scope="module")
def nodes(program: Program) -> Path:
    """Give a folder of custom nodes that every account may read, and its configuration."""
    folder = program.base / "restarting-nodes"
    unwanted = shutil.ignore_patterns("__pycache__")
    source = ROOT / "tests" / "support" / "restarting"
    shutil.copytree(source, folder / "nodes" / "restarting", ignore=unwanted)
    config = folder / "paths.yaml"
    config.write_text(f"restarting:\n  base_path: {folder}\n  custom_nodes: nodes\n")
    let_all_read(folder)
    return config


@pytest.fixture(scope="module")
def flags(comfyui_for_all: Install, nodes: Path) -> list[str]:
    configs = (comfyui_for_all.test_nodes_config, nodes)
    return [f"--extra-model-paths-config={config}" for config in configs]


@dataclass
class Work:
    """A person at work in one ComfyUI, alone on the machine or behind a gate."""

    workspace: Workspace
    tab: websocket.WebSocket
    folder: Path

    def draw(self, name: str, source: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
        """Make a picture and a preview of it; give the events of the way and both."""
        nodes = {
            "1": source,
            "2": {"class_type": "TestSleep", "inputs": {"value": ["1", 0], "seconds": SLEEP_S}},
            "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
            "4": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
        }
        nodes["3"]["inputs"]["filename_prefix"] = name
        answer = self.workspace.post("/prompt", {"prompt": nodes, "client_id": "worker"})
        assert answer.ok, answer.text
        images, events = {}, []
        while True:
            message = self.tab.recv()
            event = json.loads(message) if isinstance(message, str) else {}
            data = event.get("data", {})
            if data.get("prompt_id") != answer.json()["prompt_id"]:
                continue
            assert event["type"] != "execution_error", data
            events.append(event["type"])
            if event["type"] == "executed":
                images[data["node"]] = data["output"]["images"][0]
            if event["type"] == "execution_success":
                return events, images

    def view(self, image: dict[str, Any]) -> bytes:
        """Fetch a picture as the page does."""
        answer = self.workspace.get("/view?" + urlencode(image))
        assert answer.ok, image
        return answer.content

    def upload(self, name: str, content: bytes) -> None:
        """Send a picture to be worked on."""
        answer = self.workspace.session.post(
            f"{self.workspace.base}/upload/image",
            files={"image": (name, content, "image/png")},
            headers={"Origin": self.workspace.base},
            timeout=30,
        )
        assert answer.json() == {"name": name, "subfolder": "", "type": "input"}

    def look(self, *closed: Path) -> dict[str, Any]:
        """Let the custom node tell what is around it."""
        query = urlencode([("closed", str(path)) for path in closed])
        found: dict[str, Any] = self.workspace.get(f"/restarting/look?{query}").json()
        return found

    def restart(self) -> None:
        """Let ComfyUI replace itself, and wait for the new one."""
        before = self.look()["run"]
        self.tab.close()
        with contextlib.suppress(requests.RequestException):
            self.workspace.post("/restarting/now", {})

        def back() -> bool:
            with contextlib.suppress(requests.RequestException, KeyError):
                return bool(self.look()["run"] != before)
            return False

        wait_until(back, COMFYUI_START_S, "ComfyUI is back")
        self.tab = self.workspace.socket("worker")


def do_everything(work: Work) -> None:
    """Use what people use, and see each result where it must be."""
    color = {"width": 64, "height": 64, "batch_size": 1, "color": 0x102030}
    events, images = work.draw("drawn", {"class_type": "EmptyImage", "inputs": color})
    assert "progress" in events, events
    picture = work.view(images["3"])
    assert list(picture[:4]) == PNG_HEAD
    assert (work.folder / "output" / images["3"]["filename"]).read_bytes() == picture
    assert images["4"]["type"] == "temp"
    assert list(work.view(images["4"])[:4]) == PNG_HEAD
    work.upload("sent.png", picture)
    assert (work.folder / "input" / "sent.png").read_bytes() == picture
    _, images = work.draw("again", {"class_type": "LoadImage", "inputs": {"image": "sent.png"}})
    assert list(work.view(images["3"])[:4]) == PNG_HEAD
    for path, body in (
        ("/settings", {"Comfy.Locale": "zh"}),
        ("/userdata/workflows%2Fmine.json", {"nodes": []}),
    ):
        assert work.workspace.post(path, body).ok, path
        answer = work.workspace.get(path)
        assert answer.json() == body, path
    assert (work.folder / "user" / "default" / "workflows" / "mine.json").exists()


@pytest.fixture(scope="module")
def on_its_own(comfyui: Install, flags: list[str]) -> Iterator[set[str]]:
    """Do the same without a manager; give what ComfyUI complains of by itself."""
    folder = Path(tempfile.mkdtemp(prefix="bare-"))
    argv = [str(comfyui.python), "main.py", *flags]
    with served(argv, comfyui.source, folder) as port, ExitStack() as stack:
        workspace = Workspace(f"http://127.0.0.1:{port}/?")
        stack.callback(workspace.close)
        work = Work(workspace, workspace.socket("worker"), folder)
        do_everything(work)
        work.restart()
        work.tab.close()
    yield complaints(folder / "log")
    shutil.rmtree(folder)


def complaints(log: Path) -> set[str]:
    """Give the lines that complain, without what differs from run to run."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return {CHANGES.sub("#", line) for line in lines if COMPLAINT.search(line)}


@dataclass
class House:
    """A manager, and one person's instance."""

    manager: ManagerProcess
    instance: dict[str, Any]
    work: Work

    @property
    def run_dir(self) -> Path:
        (found,) = (self.manager.data_dir / "runs").iterdir()
        return found


@pytest.fixture(params=LEVELS)
def house(
    request: pytest.FixtureRequest, program: Program, comfyui_for_all: Install, flags: list[str]
) -> Iterator[House]:
    folder = Path(tempfile.mkdtemp(prefix="levels-", dir=program.base))
    folder.chmod(0o711)
    level = "auto" if request.param == "auto" else LEVELS[request.param]
    settings = {
        "COMFYUI_ARGS": shlex.join(flags),
        "ISOLATION": level,
        "SHARED_READABLE": str(program.base / "restarting-nodes"),
    }
    words = [str(program.python), str(program.source / "comfyui_manager.py")]
    with ExitStack() as stack:
        manager = real_house(folder, comfyui_for_all, 1, words, **settings)
        stack.enter_context(manager)
        admin = stack.enter_context(first_admin(manager))
        person = stack.enter_context(new_user(admin, "worker"))
        person.post("/api/user/start")
        wait_until(lambda: person.state()["phase"] == "running", COMFYUI_START_S, "it runs")
        instance = person.state()["instance"]
        workspace = Workspace(instance["workspace_url"])
        stack.callback(workspace.close)
        (own,) = manager.data_dir.glob("workspaces/*-worker-*")
        yield House(manager, instance, Work(workspace, workspace.socket("worker"), own))


def test_everything_works_and_nothing_complains(
    house: House, on_its_own: set[str], request: pytest.FixtureRequest
) -> None:
    level = LEVELS[request.node.callspec.params["house"]]
    told = house.manager.log_path.read_text()
    assert f"isolation: {level} with Landlock {landlock.abi()}" in told

    do_everything(house.work)
    closed = (Path(house.manager.env["DATABASE_PATH"]), house.run_dir / "meta")
    before = house.work.look(*closed)
    _is_confined(before, house, level)

    house.work.restart()
    after = house.work.look(*closed)
    assert after["run"] != before["run"]
    assert after | {"run": ""} == before | {"run": ""}
    assert knock(house.instance["port"], "/queue").status == 403
    do_everything(house.work)
    house.work.tab.close()

    log = house.run_dir / "log"
    assert not complaints(log) - on_its_own, log.read_text()


def _is_confined(seen: dict[str, Any], house: House, level: str) -> None:
    """Compare what the custom node saw with what the level promises."""
    around = seen["around"]
    assert set(seen["closed"].values()) <= {"PermissionError", "FileNotFoundError"}
    assert seen["temp"] == str(house.work.folder / "temp")
    assert (house.work.folder / "home" / "kept").exists()
    assert around["NoNewPrivs"] == "1"
    assert int(around["CapEff"], 16) == 0
    accounts = int(house.manager.env["ISOLATION_UID_BASE"])
    own = range(accounts, accounts + 1000) if AS_ROOT else [os.geteuid()]
    assert {int(uid) in own for uid in around["Uid"].split()} == {True}
    for name in ("mnt", "pid"):
        outside = str(Path("/proc/self/ns", name).readlink())
        assert (around[name] != outside) == (level == SANDBOX), name
