"""A demo ComfyUI for tests: started as the real one would be, ended and proven gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.support.ports import free_port
from tests.support.waiting import wait_until

MAIN = Path(__file__).parents[2] / "demo" / "main.py"
TIMEOUT_S = 10
FOLDERS = ("input", "output", "temp", "user")
IMAGE: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 32, "height": 32, "batch_size": 1, "color": 255},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "t"}},
}


def sleep_graph(seconds: float) -> dict[str, Any]:
    return {"1": {"class_type": "Sleep", "inputs": {"seconds": seconds}}}


@dataclass
class Demo:
    """A running demo."""

    child: subprocess.Popen[bytes]
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **named: Any) -> requests.Response:
        return requests.get(self.url + path, timeout=TIMEOUT_S, **named)

    def post(self, path: str, **named: Any) -> requests.Response:
        return requests.post(self.url + path, timeout=TIMEOUT_S, **named)

    def submit(self, graph: dict[str, Any], **more: Any) -> str:
        answer = self.post("/prompt", json={"prompt": graph, **more})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["prompt_id"])

    def remaining(self) -> int:
        return int(self.get("/prompt").json()["exec_info"]["queue_remaining"])

    def entry(self, prompt_id: str) -> dict[str, Any]:
        found = wait_until(
            lambda: self.get(f"/history/{prompt_id}").json().get(prompt_id), what="job in history"
        )
        assert isinstance(found, dict)
        return found

    def answers(self) -> bool:
        try:
            return self.get("/queue").status_code == 200
        except requests.ConnectionError:
            return False

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


@contextmanager
def running_demo(folder: Path, *flags: str, port: int = 0) -> Iterator[Demo]:
    """Start a demo; does not wait until it answers."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [sys.executable, str(MAIN), "--listen", "127.0.0.1", "--port", str(port)]
    for name in FOLDERS:
        command += [f"--{name}-directory", str(folder / name)]
    command += ["--database-url", f"sqlite:///{folder}/user/comfyui.db", "--disable-api-nodes"]
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(
            [*command, "--cpu", *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env
        )
    try:
        yield Demo(child, port, folder)
    finally:
        child.kill()
        child.wait(timeout=TIMEOUT_S)


@contextmanager
def ready_demo(folder: Path, *flags: str) -> Iterator[Demo]:
    """Start a demo without artificial boot time and wait until it answers."""
    with running_demo(folder, "--demo-zero-boot", *flags) as demo:
        wait_until(demo.answers, what=f"the demo answers; its log:\n{demo.log()}")
        yield demo
