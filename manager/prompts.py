"""Prompts of a queue: read out of ComfyUI's answer, kept as lines, made into orders again. Pure.

``GET /queue`` gives items of number, prompt id, graph, extra data and outputs. A queue may be many
megabytes long, and parsing that at once would hold everybody up: so it is read item by item, and
whoever reads may let others run in between.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST_PROMPTS = 1000
"""Of one queue that are kept."""

MOST_BYTES = 32 << 20
"""Of one queue that are read and kept."""

OUTPUTS_BYTES = 16 << 10
"""Of one prompt's outputs that are kept with the history."""

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Prompt:
    """One prompt of a queue; ``graph``, ``extra_data`` and ``outputs`` as ComfyUI printed them."""

    number: float
    prompt_id: str
    graph: dict[str, Any]
    extra_data: dict[str, Any]
    outputs: list[str]
    was_running: bool

    def line(self) -> bytes:
        """Give it as one line of a file."""
        content = {
            "prompt_id": self.prompt_id,
            "prompt": self.graph,
            "extra_data": self.extra_data,
            "outputs": self.outputs,
            "was_running": self.was_running,
        }
        return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def members(text: str) -> Iterator[tuple[str, Any]]:
    """Read a JSON object piece by piece: each member, of a list each element, with its name.

    Raises:
        ValueError: it is not a JSON object.
        RecursionError: it is nested too deep.
    """
    at = _expect(text, 0, "{")
    while not _is(text, at, "}"):
        name, at = _decode(text, at)
        at = _expect(text, at, ":")
        if _is(text, at, "["):
            at = _expect(text, at, "[")
            while not _is(text, at, "]"):
                value, at = _decode(text, at)
                yield name, value
                at = _expect(text, at, ",") if _is(text, at, ",") else at
            at = _expect(text, at, "]")
        else:
            value, at = _decode(text, at)
            yield name, value
        at = _expect(text, at, ",") if _is(text, at, ",") else at


def _decode(text: str, at: int) -> tuple[Any, int]:
    return _DECODER.raw_decode(text, _skip(text, at))


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _is(text: str, at: int, sign: str) -> bool:
    return text.startswith(sign, _skip(text, at))


def _expect(text: str, at: int, sign: str) -> int:
    if not _is(text, at, sign):
        raise ValueError(f"no {sign} at {at}")
    return _skip(text, at) + len(sign)


def prompt_of(list_name: str, item: Any) -> Prompt | None:  # noqa: ANN401 - what JSON holds
    """Read an item of one of the queue's two lists; None for what is none."""
    if not isinstance(item, list) or len(item) < 5:
        return None
    number, prompt_id, graph, extra, outputs = item[:5]
    if not isinstance(number, int | float) or not isinstance(prompt_id, str):
        return None
    if not isinstance(graph, dict) or not isinstance(extra, dict) or not isinstance(outputs, list):
        return None
    names = [str(name) for name in outputs]
    return Prompt(number, prompt_id, graph, extra, names, list_name == "queue_running")


def in_order(found: list[Prompt]) -> list[Prompt]:
    """Put prompts into the order in which ComfyUI would have worked on them."""
    # ComfyUI prints its heap as it is, not sorted.
    return sorted(found, key=lambda one: (not one.was_running, one.number))


def finished_line(prompt_id: str, entry: Any) -> bytes | None:  # noqa: ANN401 - what JSON holds
    """Give what is kept of an entry of the history as one line; None for what is none."""
    if not isinstance(entry, dict):
        return None
    status = entry.get("status")
    state = status.get("status_str") if isinstance(status, dict) else None
    content = {"prompt_id": prompt_id, "status": state, "outputs": entry.get("outputs")}
    line = json.dumps(content, separators=(",", ":")).encode()
    if len(line) > OUTPUTS_BYTES:
        line = json.dumps({**content, "outputs": None}, separators=(",", ":")).encode()
    return line + b"\n"


def order_of(line: bytes) -> bytes | None:
    """Make a kept line into the body of ``POST /prompt``; None for what makes no sense.

    ``partial_execution_targets`` are the outputs that were asked for; it has the same outputs
    computed again where only some of the graph's were wanted.
    """
    kept = _kept(line)
    if kept is None:
        return None
    order = {"prompt": kept["prompt"], "extra_data": kept["extra_data"]}
    if kept["outputs"]:
        order["partial_execution_targets"] = kept["outputs"]
    return json.dumps(order, separators=(",", ":")).encode()


def summary_of(line: bytes) -> dict[str, Any] | None:
    """Say in short what a kept prompt is: ``nodes``, its ``kinds`` of output, ``was_running``."""
    kept = _kept(line)
    if kept is None:
        return None
    nodes = kept["prompt"]
    wanted = [nodes[name] for name in kept["outputs"] if isinstance(nodes.get(name), dict)]
    kinds = [str(node.get("class_type", ""))[:64] for node in wanted]
    return {"nodes": len(nodes), "kinds": sorted(set(kinds)), "was_running": kept["was_running"]}


def _kept(line: bytes) -> dict[str, Any] | None:
    # The file lies where its user's own programs may write.
    try:
        kept = json.loads(line)
        sound = isinstance(kept["prompt"], dict) and isinstance(kept["extra_data"], dict)
        sound = sound and isinstance(kept["outputs"], list)
        kept["was_running"] = bool(kept["was_running"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return kept if sound else None


def refusal_of(status: int, answer: bytes) -> str:
    """Say in ComfyUI's words why it refused a prompt."""
    try:
        said = json.loads(answer)
        words = [str(said["error"]["message"])]
        for node in said.get("node_errors", {}).values():
            words += [f"{node['class_type']}: {e['message']}" for e in node["errors"]]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return f"HTTP {status}"
    return "; ".join(words)[:300]
