"""Ports as admins see them."""

from __future__ import annotations

from typing import Literal

from manager.web.answers import Answer
from manager.web.answers.instances import Instance

Standing = Literal[
    "starting",
    "running",
    "stopping",
    "draining",
    "free",
    "kept",
    "reserved",
    "out_of_use",
    "held_back",
    "elsewhere",
    "outside",
    "sick",
    "unknown",
]
NoteKind = Literal[
    "hung",
    "still",
    "beside",
    "after",
    "kept",
    "reserved",
    "out_of_use",
    "held_back",
    "outside",
    "sick",
    "unknown",
    "elsewhere",
    "failed",
]


class Note(Answer):
    """What is to be known of a port: ``text`` and ``at`` are parts of the sentence of its kind."""

    kind: NoteKind
    text: str
    at: float | None


class Port(Instance):
    """A port; ``held_back``: not given out until an admin has looked.

    ``unreachable`` says why nothing can be started on its machine now, empty when something can.

    ``standing`` says in a word how it and its card stand, ``next_up`` who in the line gets it next.
    """

    held_back: bool
    unreachable: str
    standing: Standing
    note: Note | None
    next_up: str | None
