"""What of the guard needs no process: where it stands, and what it takes for a secret."""

from __future__ import annotations

import stat
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manager.launcher import guard
from manager.launcher.guard import CannotGuardError, read_secret
from manager.launcher.protocol import GUARD, LaunchSpec
from manager.launcher.run_dir import RunDir
from manager.records import GUARD_HEADER

SECRET = "aB3" + "x" * 29


def spec(framework: str | None) -> LaunchSpec:
    argv = ("python", "main.py", "--cpu")
    return LaunchSpec("one", argv, {}, Path(), 1, guard=framework, secret=SECRET)


def test_caddy_the_watch_and_the_guard_mean_the_same_header() -> None:
    assert guard.HEADER == GUARD_HEADER


def test_the_guard_stands_before_the_script() -> None:
    words = spec("aiohttp").words(Path("/run/secret"))
    assert words == ("python", str(GUARD), "aiohttp", "/run/secret", "main.py", "--cpu")
    assert Path(guard.__file__) == GUARD
    assert spec(None).words(Path("/run/secret")) == ("python", "main.py", "--cpu")


def test_the_secret_is_in_a_file_for_this_account_alone_and_in_no_other(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "one")
    assert run.create({"launch_id": "one"}, SECRET)
    assert read_secret(str(run.secret)) == SECRET
    assert stat.S_IMODE(run.secret.stat().st_mode) == 0o600
    others = [path for path in run.path.iterdir() if path != run.secret]
    assert others
    assert not [path for path in others if SECRET in path.read_text()]
    assert SECRET not in repr(spec("aiohttp"))


@pytest.mark.parametrize("content", ["", "\n", " " * 40, "x" * 31, "x" * 31 + "-", "é" * 32])
def test_what_is_no_secret_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    with pytest.raises(CannotGuardError) as refusal:
        read_secret(str(path))
    assert str(path) in str(refusal.value)


def test_a_missing_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotGuardError, match="cannot be read"):
        read_secret(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (b"<html><head><title>", b"<html><head>" + guard.TAB_SCRIPT + b"<title>"),
        (b'<HEAD lang="en"></HEAD>', b'<HEAD lang="en">' + guard.TAB_SCRIPT + b"</HEAD>"),
        (b"<head></head><head>", b"<head>" + guard.TAB_SCRIPT + b"</head><head>"),
        (b"<header></header>", b"<header></header>"),
        (b'{"not": "a page"}', b'{"not": "a page"}'),
        (b"", b""),
    ],
)
def test_a_page_gets_the_gates_script_and_nothing_else(page: bytes, told: bytes) -> None:
    assert guard.with_tab_script(page) == told


STATE = {"value": 3, "max": 20, "state": SimpleNamespace(value="running")}
DONE = {"value": 1, "max": 1, "state": SimpleNamespace(value="finished")}
GRAPH = {
    "1": {"class_type": "Load", "inputs": {"name": ["a", "b"], "of": [["x"], 0]}},
    "2": {"class_type": "KSampler", "inputs": {"model": ["1", 0]}, "_meta": {"title": "Mine"}},
    "3": {"class_type": "Save", "inputs": {"images": ["2", 0], "more": ["9", 0]}},
    "4": {"class_type": "Never", "inputs": {}},
}


class Graph:
    """ComfyUI's own view of a graph; node ``2.1`` was made by node 2 while it ran."""

    def get_display_node_id(self, name: str) -> str:
        return name.split(".", maxsplit=1)[0]

    def get_node(self, name: str) -> dict[str, Any]:
        return GRAPH.get(name) or {"class_type": "Inner", "inputs": {}}


def comfyui(
    monkeypatch: pytest.MonkeyPatch, running: object, nodes: object, of: str = "p"
) -> guard.Progress:
    """Stand in for the two places where ComfyUI keeps what is read."""
    queue = SimpleNamespace(currently_running=running)
    server = SimpleNamespace(instance=SimpleNamespace(prompt_queue=queue))
    registry = SimpleNamespace(prompt_id=of, nodes=nodes, dynprompt=Graph())
    monkeypatch.setitem(sys.modules, "server", SimpleNamespace(PromptServer=server))
    progress = SimpleNamespace(get_progress_state=lambda: registry)
    monkeypatch.setitem(sys.modules, "comfy_execution.progress", progress)
    return guard.Progress()


JOB: dict[int, Any] = {7: (0, "p", GRAPH, {}, ["3"])}


def test_progress_is_read_where_comfyui_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said = comfyui(monkeypatch, JOB, {"1": DONE, "4": DONE, "2": STATE}).said()
    assert said.pop("seconds") >= 0
    assert said == {
        "prompt_id": "p",
        "task": 7,
        # The fourth is needed by no output.
        "finished": 1,
        "nodes": 3,
        "node": "2",
        "class_type": "KSampler",
        "title": "Mine",
        "value": 3.0,
        "max": 20.0,
    }


def test_of_several_nodes_the_one_that_counts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = {**STATE, "max": 1}
    said = comfyui(monkeypatch, JOB, {"2.1": STATE, "2": plain}).said()
    assert (said["node"], said["class_type"], said["title"]) == ("2.1", "Inner", "Mine")


def test_before_the_first_node_and_without_a_job_there_is_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = comfyui(monkeypatch, JOB, {"2": STATE}, of="the one before").said()
    assert "node" not in said
    assert said["finished"] == 0
    assert comfyui(monkeypatch, {}, {}).said() == {}


@pytest.mark.parametrize(
    ("running", "nodes"),
    [
        (None, {}),
        ({7: ()}, {}),
        ({7: (0, "p", {"3": {}}, {}, ["3"])}, {}),
        (JOB, {"2": {}}),
        (JOB, {"2": {**STATE, "max": "many"}}),
        (JOB, None),
    ],
)
def test_a_comfyui_that_keeps_it_otherwise_says_so(
    monkeypatch: pytest.MonkeyPatch, running: object, nodes: object
) -> None:
    said = comfyui(monkeypatch, running, nodes).said()
    assert list(said) == ["unknown"]
    assert "Error" in said["unknown"]
    monkeypatch.delitem(sys.modules, "server")
    assert guard.Progress().said() == {"unknown": "KeyError: 'server'"}
