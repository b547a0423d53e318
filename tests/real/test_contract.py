"""The stand-in speaks as the real ComfyUI does: the same questions, answers of the same shape.

Every other test trusts the stand-in; this one keeps it honest.
"""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import websocket

from manager.settings import ROOT
from tests.support.real_comfyui import Install
from tests.support.real_house import graph, served
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.real_comfyui, pytest.mark.timeout(600)]

SLEEP_S = 2.0
CHATTER = {"progress", "progress_state"}
"""Events whose number depends on time."""


def shape(value: object) -> object:
    """Reduce a value to its keys; the ids that a server makes up are all called ``id``."""
    if isinstance(value, dict):
        return {_key(name): shape(part) for name, part in sorted(value.items())}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return "number" if isinstance(value, int | float) else type(value).__name__


def _key(name: str) -> str:
    try:
        return "id" if uuid.UUID(name) else name
    except ValueError:
        return name


@dataclass
class Told:
    """Everything a server said during the same visit."""

    status: dict[str, int] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, Any]] = field(default_factory=list)


class Visit:
    """Asks one server a fixed list of questions."""

    def __init__(self, port: int) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.told = Told()
        self._session = requests.Session()
        self._session.trust_env = False
        self._socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}/ws?clientId=visitor", timeout=60
        )

    def make(self) -> Told:
        self._listen_until(lambda kind, _data: kind == "status")
        for path in ("/queue", "/api/queue", "/prompt", "/history", "/system_stats"):
            self._ask(f"idle {path}", "GET", path)
        self._refusals()
        first = self._draw("first", graph("contract", 0x010203, SLEEP_S))
        self._draw("second", graph("contract", 0x040506, SLEEP_S))
        wait_until(lambda: self._running() == [first], 30, "the first job to run")
        self._ask("busy /queue", "GET", "/queue")
        self._ask("busy /prompt", "GET", "/prompt")
        self._ask("clear /queue", "POST", "/queue", {"clear": True})
        self._ask("cleared /queue", "GET", "/queue")
        self._listen_until(lambda kind, data: kind == "executing" and data["node"] is None)
        wait_until(lambda: self._running() == [], 30, "the first job to end")
        self._ask("/history", "GET", "/history")
        self._ask("/history/id", "GET", f"/history/{first}")
        third = self._draw("third", graph("contract", 0x070809, 60))
        self._listen_until(lambda kind, data: kind == "executing" and data["node"] == "2")
        self._ask("/interrupt", "POST", "/interrupt", {})
        wait_until(lambda: self._running() == [], 30, "the third job to be cut off")
        self._ask("interrupted", "GET", f"/history/{third}")
        image = self.told.body["/history/id"][first]["outputs"]["3"]["images"][0]
        self._ask("/view", "GET", "/view", params=image)
        self._ask("/view missing", "GET", "/view", params=image | {"filename": "none.png"})
        self._ask("/free", "POST", "/free", {"unload_models": True, "free_memory": True})
        self._ask("delete /history", "POST", "/history", {"delete": [first]})
        self._ask("deleted", "GET", f"/history/{first}")
        self._socket.close()
        self._session.close()
        return self.told

    def _refusals(self) -> None:
        self._ask("no prompt", "POST", "/prompt", {})
        self._ask("no outputs", "POST", "/prompt", {"prompt": {}})
        only_empty = {"1": graph("x", 1)["1"]}
        self._ask("no output node", "POST", "/prompt", {"prompt": only_empty})
        no_input = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}}
        self._ask("missing input", "POST", "/prompt", {"prompt": no_input})

    def _draw(self, name: str, nodes: dict[str, Any]) -> str:
        asked = {"prompt": nodes, "client_id": "visitor"}
        self._ask(f"{name} POST /prompt", "POST", "/prompt", asked)
        return str(self.told.body[f"{name} POST /prompt"]["prompt_id"])

    def _ask(
        self,
        name: str,
        method: str,
        path: str,
        content: dict[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> None:
        answer = self._session.request(
            method, self.base + path, json=content, params=params, timeout=30
        )
        self.told.status[name] = answer.status_code
        if answer.headers.get("Content-Type", "").startswith("application/json"):
            self.told.body[name] = answer.json()

    def _running(self) -> list[str]:
        answer = self._session.get(f"{self.base}/queue", timeout=30).json()
        return [item[1] for item in answer["queue_running"]]

    def _listen_until(self, last: Any) -> None:
        while True:
            message = self._socket.recv()
            if not isinstance(message, str):
                continue
            event = json.loads(message)
            self.told.events.append((event["type"], event["data"]))
            if last(event["type"], event["data"]):
                return


@pytest.fixture(scope="module")
def real(comfyui: Install, tmp_path_factory: pytest.TempPathFactory) -> Told:
    argv = [str(comfyui.python), "main.py"]
    argv.append(f"--extra-model-paths-config={comfyui.test_nodes_config}")
    with served(argv, comfyui.source, tmp_path_factory.mktemp("real")) as port:
        return Visit(port).make()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Told:
    argv = [sys.executable, "demo/main.py", "--demo-zero-boot"]
    with served(argv, ROOT, tmp_path_factory.mktemp("demo")) as port:
        return Visit(port).make()


def test_the_same_status_codes(real: Told, demo: Told) -> None:
    assert demo.status == real.status


@pytest.mark.parametrize(
    "name",
    [
        "idle /queue",
        "idle /api/queue",
        "idle /prompt",
        "idle /history",
        "first POST /prompt",
        "busy /queue",
        "busy /prompt",
        "cleared /queue",
        "/history",
        "/history/id",
        "interrupted",
        "deleted",
    ],
)
def test_answers_of_the_same_shape(real: Told, demo: Told, name: str) -> None:
    assert shape(demo.body[name]) == shape(real.body[name])


@pytest.mark.parametrize("name", ["no prompt", "no outputs", "no output node", "missing input"])
def test_refusals_name_the_same_error(real: Told, demo: Told, name: str) -> None:
    assert demo.body[name]["error"]["type"] == real.body[name]["error"]["type"]
    assert set(demo.body[name]) == set(real.body[name])
    assert set(demo.body[name]["error"]) == set(real.body[name]["error"])


def test_system_stats_has_the_same_keys(real: Told, demo: Told) -> None:
    said, expected = demo.body["idle /system_stats"], real.body["idle /system_stats"]

    assert set(said) == set(expected)
    assert set(said["system"]) >= {"os", "comfyui_version", "python_version", "argv"}
    assert set(expected["system"]) - set(said["system"]) == set()
    assert set(said["devices"][0]) == set(expected["devices"][0])


def test_the_same_events_in_the_same_order_over_the_websocket(real: Told, demo: Told) -> None:
    def order(told: Told) -> list[str]:
        # "status" comes with every change of the queue and may come between any two.
        return [k for k, _ in told.events if k not in CHATTER | {"status", "feature_flags"}]

    def kinds(told: Told) -> dict[str, object]:
        return {kind: shape(data) for kind, data in told.events if kind in order(told)}

    assert order(demo) == order(real)
    assert kinds(demo) == kinds(real)
    assert demo.events[0][0] == real.events[0][0] == "status"
    assert shape(demo.events[0][1]) == shape(real.events[0][1])
