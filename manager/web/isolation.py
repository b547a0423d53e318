"""What the admins' page says of how users are kept apart: what is in force, and what it guards."""

from __future__ import annotations

from typing import Any

from manager.launcher.guarded import guarded
from manager.launcher.isolation import DIRECTORIES, LEVELS
from manager.records import Node

_LAYERS = {"supervisor": "supervisor", "account": "account", "marker": "marker"}
"""What has a word of its own; each hierarchy of control groups is the same to people."""


def isolation_view(node: Node) -> dict[str, Any]:
    """Show one machine's isolation.

    ``exposed``: code in an instance is root without walls; ``open``: users' code is not kept apart.
    """
    higher = [(level, node.refused[level]) for level in LEVELS if level in node.refused]
    layers = [_LAYERS.get(layer, "group") for layer in node.layers]
    walls = node.level != DIRECTORIES
    return {
        "name": node.name,
        "level": node.level,
        "landlock": node.landlock,
        "no_landlock": node.refused.get("landlock", ""),
        "layers": list(dict.fromkeys(layers)),
        "higher": higher,
        "exposed": node.root and not walls,
        "open": not walls and not node.landlock,
        "attempts": list(guarded(node.level, node.landlock, node.root).items()),
    }
