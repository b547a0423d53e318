"""The machines of a cluster as admins see them."""

from __future__ import annotations

from typing import Literal

from manager.web.answers import Answer


class Node(Answer):
    """A machine: ``held`` of its ``cards`` are held by jobs, null where nobody can tell.

    ``standing``: there, silent, or unknown. ``level`` is how it keeps users apart, null: not known.
    """

    name: str
    host: str
    standing: Literal["there", "silent", "unknown"]
    why: str
    cards: int
    held: int | None
    level: str | None


class Cluster(Answer):
    """The engine: ``guarded`` says whether it asks who asks, null before its first answer.

    While it does not answer (``silent_since``), nothing is started and nothing is given up.
    """

    kind: str
    version: str
    guarded: bool | None
    answers: bool
    silent_since: float | None
    nodes: list[Node]
