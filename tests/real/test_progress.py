"""Progress of real work: the guard reads it out of the real ComfyUI, and the demo says the same."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from manager.comfyui import ComfyUI
from manager.launcher.protocol import GUARD
from manager.progress import NotSaid, Said
from manager.records import GUARD_HEADER, Address
from manager.settings import ROOT
from tests.support.client import Workspace, first_admin, new_user
from tests.support.real_comfyui import Install
from tests.support.real_house import graph, real_house, served
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.real_comfyui, pytest.mark.timeout(900)]

SECRET = "s" * 40
SHOWN = {GUARD_HEADER: SECRET}
SLEEP_S = 8.0
TITLE = "My nap"


def named(color: int, sleep_s: float) -> dict[str, Any]:
    """Give a job whose second node has a title, beside one that no output needs."""
    nodes = graph("progress", color, sleep_s)
    nodes["2"]["_meta"] = {"title": TITLE}
    return nodes | {"9": nodes["1"]}


@contextmanager
def guarded(folder: Path, framework: str, cwd: Path, *argv: str) -> Iterator[int]:
    """Run a server behind the guard."""
    folder.mkdir()
    secret = folder / "secret"
    secret.write_text(SECRET)
    words = [argv[0], str(GUARD), framework, str(secret), *argv[1:]]
    with served(words, cwd, folder / "run", headers=SHOWN) as port:
        yield port


def watched(port: int, client_id: str | None) -> list[Said]:
    """Run one job and give all that was said of it, each once."""
    comfyui, heard = ComfyUI(1), []
    asked = {"prompt": named(len(client_id or "") + 1, SLEEP_S)}
    url = f"http://127.0.0.1:{port}/prompt"
    body = asked | ({"client_id": client_id} if client_id else {})
    assert requests.post(url, json=body, headers=SHOWN, timeout=30).ok

    def is_over() -> bool:
        # A busy machine may keep it from answering in time.
        with contextlib.suppress(NotSaid):
            heard.append(comfyui.progress(Address("127.0.0.1", port), SECRET))
        return len(heard) > 1 and not heard[-1].prompt_id and bool(heard[-2].prompt_id)

    wait_until(is_over, 120, "the job is over")
    comfyui.close()
    return [one for one in heard if one.prompt_id]


def _holds(heard: list[Said], class_type: str) -> None:
    assert {one.unknown for one in heard} == {""}
    assert len({one.prompt_id for one in heard}) == 1
    napping = [one for one in heard if one.node == "2"]
    assert {(one.class_type, one.title) for one in napping} == {(class_type, TITLE)}
    assert {(one.finished, one.nodes) for one in napping} == {(1, 3)}
    values = [one.value for one in napping if one.most > 1]
    assert len(set(values)) > 3
    assert values == sorted(values)
    assert values[-1] <= napping[-1].most
    assert heard[-1].seconds > heard[0].seconds


def raw(port: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/comfyui-multi-user-manager/progress"
    return dict(requests.get(url, headers=SHOWN, timeout=30).json())


@pytest.mark.parametrize("client_id", ["visitor", None])
def test_the_real_one_says_its_node_and_steps_whoever_sent_the_job(
    comfyui: Install, tmp_path: Path, client_id: str | None
) -> None:
    config = f"--extra-model-paths-config={comfyui.test_nodes_config}"
    argv = (str(comfyui.python), "main.py", config)
    with guarded(tmp_path / "real", "aiohttp", comfyui.source, *argv) as port:
        assert raw(port) == {}
        _holds(watched(port, client_id), "TestSleep")
        assert raw(port) == {}


def test_the_demo_says_it_in_the_same_shape(comfyui: Install, tmp_path: Path) -> None:
    config = f"--extra-model-paths-config={comfyui.test_nodes_config}"
    shapes: list[dict[str, str]] = []
    real = (str(comfyui.python), "main.py", config)
    demo = (sys.executable, "demo/main.py", "--demo-zero-boot")
    places = (("aiohttp", comfyui.source, real), ("flask", ROOT, demo))
    for framework, cwd, argv in places:
        with guarded(tmp_path / framework, framework, cwd, *argv) as port:
            url = f"http://127.0.0.1:{port}"
            asked = {"prompt": named(1, 60)}
            assert requests.post(f"{url}/prompt", json=asked, headers=SHOWN, timeout=30).ok

            def at_the_node(port: int = port) -> dict[str, Any]:
                found = raw(port)
                return found if found.get("node") == "2" else {}

            found = wait_until(at_the_node, 60, "the node runs") or {}
            shapes.append({name: type(value).__name__ for name, value in found.items()})
            requests.post(f"{url}/interrupt", json={}, headers=SHOWN, timeout=30)
    assert shapes[0] == shapes[1]


def test_it_arrives_on_the_page(comfyui: Install, tmp_path: Path) -> None:
    with (
        real_house(tmp_path, comfyui, rows=1) as house,
        first_admin(house) as admin,
        new_user(admin, "dora") as dora,
    ):
        dora.post("/api/user/start")
        wait_until(lambda: dora.state()["phase"] == "running", 240, "ComfyUI runs")
        workspace = Workspace(dora.state()["instance"]["workspace_url"])
        for color in (1, 2):
            assert workspace.post("/prompt", {"prompt": named(color, 30)}).ok

        def at_the_node() -> dict[str, Any]:
            found = dora.state()["instance"]["progress"] or {}
            return found if found.get("step", 0) > 2 else {}

        found = wait_until(at_the_node, 60, "the node is shown") or {}
        assert (found["node"], found["steps"]) == (TITLE, 30)
        assert (found["finished"], found["nodes"]) == (1, 3)
        assert (found["prompt"], found["prompts"]) == (1, 2)
        assert TITLE not in json.dumps(admin.get("/api/admin/overview"))
        workspace.close()
