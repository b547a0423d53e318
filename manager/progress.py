"""How far running work is: what an instance says of it, and what is made of that. Pure.

An instance is not believed: custom nodes run in it. What it says is taken piece by piece, within
bounds, or not at all; nothing it can say makes a percentage above 100 or one that goes back.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

LONGEST_SAID = 1 << 14
"""Bytes of an answer that are read at most; a usual one has 0.3 KB."""

TEXT_LIMIT = 100
"""Letters of a name that are shown at most."""

SILENT_AFTER = 3
"""Questions without an answer after which what was said last is no longer shown."""

_MOST = 1 << 53


class NotSaid(ValueError):
    """What was answered says nothing about progress."""


@dataclass(frozen=True)
class Said:
    """One answer. ``prompt_id`` empty: nothing runs; ``unknown``: it cannot tell, and why.

    ``task`` counts the prompts that the instance has begun with, ``seconds`` how long it has known
    this one. ``value`` of ``most`` is the node's own count, ``finished`` of ``nodes`` the
    workflow's.
    """

    prompt_id: str = ""
    task: int = 0
    seconds: float = 0.0
    node: str = ""
    class_type: str = ""
    title: str = ""
    value: float = 0.0
    most: float = 0.0
    finished: int = 0
    nodes: int = 0
    unknown: str = ""


NOTHING = Said()


@dataclass(frozen=True)
class Progress:
    """What others may know of the work of a launch.

    ``told`` is false where the instance works but cannot say how far it is; then the rest says
    nothing. ``prompt`` is the number of the prompt since the work began, ``step`` of ``steps`` the
    node's own count (``steps`` 0: it has none), ``percent`` of the workflow, ``seconds`` the time
    spent on the prompt. ``progressed_at`` (monotonic seconds) is when anything of it changed last.
    """

    launch_id: str
    told: bool
    prompt: int
    class_type: str
    title: str
    step: int
    steps: int
    percent: int
    finished: int
    nodes: int
    seconds: float
    progressed_at: float


def parse(body: bytes) -> Said:
    """Read an answer.

    Raises:
        NotSaid: it is not one.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise NotSaid("not JSON") from None
    if not isinstance(content, dict):
        raise NotSaid("not an object")
    unknown = _text(content.get("unknown", ""))
    if unknown or not content:
        return Said(unknown=unknown)
    prompt_id = _text(content.get("prompt_id"))
    if not prompt_id:
        raise NotSaid("no prompt")
    nodes = int(_number(content, "nodes"))
    return Said(
        prompt_id=prompt_id,
        task=int(_number(content, "task")),
        seconds=_number(content, "seconds"),
        node=_text(content.get("node", "")),
        class_type=_text(content.get("class_type", "")),
        title=_text(content.get("title", "")),
        value=min(_number(content, "value"), _number(content, "max")),
        most=_number(content, "max"),
        finished=min(nodes, int(_number(content, "finished"))),
        nodes=nodes,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NotSaid("not a text")
    return "".join(letter for letter in value[:TEXT_LIMIT] if letter.isprintable()).strip()


def _number(content: dict[str, Any], name: str) -> float:
    value = content.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotSaid("not a number")
    # A whole number may be too long for a float.
    if not -_MOST <= value <= _MOST or not math.isfinite(value):
        raise NotSaid("not a number that counts anything")
    return max(0.0, float(value))


class Course:
    """How the work of one launch goes on, from one answer to the next; ends with the work."""

    def __init__(self, launch_id: str, now: float) -> None:
        """Begin with nothing said; times in monotonic seconds."""
        self.launch_id = launch_id
        self._said: Said | None = None
        self._said_at = self._progressed_at = now
        self._silent = 0
        self._first_task = 0
        self._percent = 0

    def take(self, said: Said, now: float) -> bool:
        """Count an answer in; tell whether anybody need be told."""
        before, self._silent = self._said, 0
        if not said.prompt_id and not said.unknown and before is not None and before.prompt_id:
            # Between two prompts: what was shown stays until the next, or until the work is over.
            self._said_at = now
            return False
        self._said, self._said_at = said, now
        if before is None or said.task < self._first_task:
            self._first_task = said.task
        if before is None or before.prompt_id != said.prompt_id:
            self._percent = 0
        self._percent = max(self._percent, _percent(said))
        if before is not None and _mark(before) == _mark(said):
            return False
        self._progressed_at = now
        return True

    def miss(self) -> bool:
        """Count a question without an answer; tell whether anybody need be told."""
        self._silent += 1
        return self._silent == SILENT_AFTER

    def progress(self, now: float) -> Progress | None:
        """Give what is known at ``now``; None while that is nothing, or too old."""
        said = self._said
        if said is None or self._silent >= SILENT_AFTER:
            return None
        if not said.prompt_id and not said.unknown:
            return None
        counts = said.most > 1
        return Progress(
            launch_id=self.launch_id,
            told=not said.unknown,
            prompt=said.task - self._first_task + 1,
            class_type=said.class_type,
            title=said.title,
            step=int(said.value) if counts else 0,
            steps=int(said.most) if counts else 0,
            percent=self._percent,
            finished=said.finished,
            nodes=said.nodes,
            seconds=said.seconds + now - self._said_at,
            progressed_at=self._progressed_at,
        )


def _percent(said: Said) -> int:
    if not said.nodes:
        return 0
    part = said.value / said.most if said.most else 0.0
    # Not 100 before it is over: the last node's own count may be.
    return min(99, int(100 * min(said.finished + part, said.nodes) / said.nodes))


def _mark(said: Said) -> tuple[object, ...]:
    """Give what progress is seen by."""
    return (said.prompt_id, said.node, said.value, said.most, said.finished, said.unknown)
