"""What the admins' page says of the machines of a cluster; all of it is known already."""

from __future__ import annotations

from typing import Any

from manager.cards import kind_in_force
from manager.cluster import Heard
from manager.launcher.engine import EngineNode
from manager.records import Node
from manager.web.house import Manager
from manager.web.isolation import isolation_view

View = dict[str, Any]

STANDINGS = {True: "there", False: "silent", None: "unknown"}


def cluster_view(manager: Manager) -> View | None:
    """Show the engine and its machines; None where everything runs on this one.

    ``held`` of ``cards`` are held by jobs, whoever's; None where nobody can tell. While the engine
    does not answer nobody can tell how its machines are.
    """
    heard = manager.cluster.heard()
    if heard is None:
        return None
    kind = kind_in_force(manager.settings)
    facts = heard.facts
    return {
        "kind": facts.kind if facts else manager.settings.launcher,
        "version": facts.version if facts else "",
        "guarded": facts.guarded if facts else None,
        "answers": heard.answers,
        "silent_since": heard.silent_since,
        "nodes": [
            _node_view(node, kind, heard)
            for node in sorted(heard.nodes.values(), key=lambda one: one.name)
        ],
    }


def _node_view(node: EngineNode, kind: str, heard: Heard) -> View:
    level = _level(node, heard)
    held = node.held.get(kind, 0) if node.held is not None and heard.answers else None
    return {
        "name": node.name,
        "host": node.host,
        "standing": STANDINGS[node.alive if heard.answers else None],
        "why": node.why,
        "cards": node.cards.get(kind, 0),
        "held": held,
        "level": level.level if level else None,
    }


def engine_silent(manager: Manager) -> bool:
    """Tell whether nothing can be started just now, because the engine does not answer."""
    heard = manager.cluster.heard()
    return heard is not None and not heard.answers


def _level(node: EngineNode, heard: Heard) -> Node | None:
    return heard.levels.get(node.name)


def machines_view(manager: Manager) -> list[View]:
    """Show how well each machine keeps users apart; those that do it alike as one."""
    heard = manager.cluster.heard()
    nodes = manager.lifecycle.nodes() if heard is None else tuple(heard.levels.values())
    alike: dict[str, View] = {}
    for node in nodes:
        shown = isolation_view(node)
        same = alike.setdefault(repr({**shown, "name": ""}), {**shown, "names": []})
        same["names"].append(node.name)
    return list(alike.values())
