"""Reading a prompt in ComfyUI's API format: is it one, what is an output, in which order. Pure.

The shapes of the errors are those of ComfyUI's ``POST /prompt`` (``execution.py``,
``validate_prompt``).
"""

from __future__ import annotations

import graphlib
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
REQUIRED = {"SaveImage": ("images",), "PreviewImage": ("images",)}
OUTPUTS = ("SaveImage", "PreviewImage", "Sleep")


class InvalidPrompt(Exception):
    """A prompt that is refused; ``body`` is what the client is told."""

    def __init__(
        self, kind: str, message: str, details: str = "", nodes: Json | None = None
    ) -> None:
        """Keep the answer in ComfyUI's shape."""
        super().__init__(message)
        error = {"type": kind, "message": message, "details": details, "extra_info": {}}
        self.body: Json = {"error": error, "node_errors": nodes or {}}


@dataclass(frozen=True)
class Plan:
    """What is executed: node ids in order, and which of them are outputs."""

    order: list[str]
    outputs: list[str]


def plan(prompt: object) -> Plan:
    """Check a prompt and order its nodes.

    Raises:
        InvalidPrompt: it cannot be run.
    """
    nodes = _nodes(prompt)
    outputs = [name for name, node in nodes.items() if node["class_type"] in OUTPUTS]
    if not outputs:
        raise InvalidPrompt("prompt_no_outputs", "Prompt has no outputs")
    wrong = {name: found for name in outputs if (found := _missing(name, nodes[name]))}
    if wrong:
        raise InvalidPrompt(
            "prompt_outputs_failed_validation", "Prompt outputs failed validation", nodes=wrong
        )
    return Plan(_ordered(nodes, outputs), outputs)


def _nodes(prompt: object) -> dict[str, Json]:
    if not isinstance(prompt, dict):
        raise InvalidPrompt("invalid_prompt", "Prompt is not a mapping of nodes")
    for name, node in prompt.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise InvalidPrompt(
                "invalid_prompt",
                "Cannot execute because a node is missing the class_type property.",
                f"Node ID '#{name}'",
            )
        if not isinstance(node.setdefault("inputs", {}), dict):
            raise InvalidPrompt("invalid_prompt", "Inputs are not a mapping", f"Node ID '#{name}'")
    return prompt


def _missing(name: str, node: Json) -> Json | None:
    missing = [one for one in REQUIRED.get(node["class_type"], ()) if one not in node["inputs"]]
    if not missing:
        return None
    errors = [
        {
            "type": "required_input_missing",
            "message": "Required input is missing",
            "details": one,
            "extra_info": {"input_name": one},
        }
        for one in missing
    ]
    return {"errors": errors, "dependent_outputs": [name], "class_type": node["class_type"]}


def links(node: Json) -> list[str]:
    """List the nodes whose results a node takes: inputs of the form ``[node id, slot]``."""
    values = node["inputs"].values()
    return [
        value[0]
        for value in values
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)
    ]


def _ordered(nodes: dict[str, Json], outputs: list[str]) -> list[str]:
    """Sort what the outputs need so that every node comes after its inputs."""
    needs: dict[str, list[str]] = {}
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name not in nodes:
            raise InvalidPrompt("invalid_prompt", "A linked node does not exist", f"#{name}")
        if name not in needs:
            needs[name] = links(nodes[name])
            pending += needs[name]
    try:
        return list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        raise InvalidPrompt("dependency_cycle", "Graph has a cycle") from error
