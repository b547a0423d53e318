"""The demo's graph reading and texts, without a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.arguments import parse
from demo.graph import InvalidPrompt, plan
from demo.texts import HOME, TEXTS, choose
from manager.comfyui_flags import FORBIDDEN


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def test_nodes_run_after_what_they_need_and_unneeded_ones_not_at_all() -> None:
    graph = {
        "9": node("SaveImage", images=["3", 0]),
        "3": node("Blend", a=["1", 0], b=["2", 0]),
        "2": node("Blur", image=["1", 0]),
        "1": node("EmptyImage", width=8),
        "7": node("EmptyImage"),
    }
    found = plan(graph)
    assert found.order == ["1", "2", "3", "9"]
    assert found.outputs == ["9"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(json_values | st.dictionaries(st.text(max_size=3), st.builds(node, st.just("SaveImage"))))
def test_any_json_is_planned_or_refused(prompt: object) -> None:
    try:
        assert plan(prompt).outputs
    except InvalidPrompt as refusal:
        assert refusal.body["error"]["type"]


def test_both_languages_say_the_same_things_and_the_page_uses_only_these() -> None:
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    page = (HOME / "templates" / "index.html").read_text(encoding="utf-8")
    script = (HOME / "static" / "demo.js").read_text(encoding="utf-8")
    used = set(re.findall(r"\bt\.(\w+)", page)) | set(re.findall(r"texts\.(\w+)", script))
    assert used <= TEXTS["en"].keys()
    assert [choose(wanted) for wanted in ("zh", "en", None, "fr")] == ["zh", "en", "en", "en"]


def test_the_page_brings_everything_itself() -> None:
    for path in sorted(Path(HOME).glob("static/*")) + sorted(Path(HOME).glob("templates/*")):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, path
        assert "https://" not in text, path
        assert " style=" not in text, path


@pytest.mark.parametrize("flag", sorted(FORBIDDEN))
def test_the_demo_knows_every_flag_the_manager_refuses(flag: str, tmp_path: Path) -> None:
    value = {"--port": ["1"], "--user-directory": [str(tmp_path)], "--multi-user": []}
    parse([flag, *value.get(flag, ["x"])])
