"""The machines of a cluster for ``/metrics``; nothing where everything runs on this one."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily

from manager.web.cluster import STANDINGS, View, cluster_view
from manager.web.gauge import gauge
from manager.web.house import Manager

THERE = {STANDINGS[True]: 1.0, STANDINGS[False]: 0.0, STANDINGS[None]: None}


def node_label(manager: Manager) -> list[str]:
    """Give the label that says where a port is; none where there is one place only."""
    return ["node"] if manager.cluster.heard() is not None else []


def cluster_gauges(manager: Manager) -> Iterator[GaugeMetricFamily]:
    """Tell how the engine and its machines are; what nobody can tell is left out, never zero."""
    view = cluster_view(manager)
    if view is None:
        return
    labels = ["engine", "version"]
    words = [view["kind"], view["version"]]
    yield gauge(
        "comfyui_manager_engine_up",
        "1 when the engine of the cluster answers.",
        labels,
        [(words, view["answers"])],
    )
    nodes: list[View] = view["nodes"]
    for name, about, values in (
        ("up", "1 when the engine says it is there.", [THERE[one["standing"]] for one in nodes]),
        ("cards", "Cards of the kind in use.", [one["cards"] for one in nodes]),
        ("cards_held", "Cards that jobs hold, whoever's.", [one["held"] for one in nodes]),
    ):
        pairs = zip(([one["name"]] for one in nodes), values, strict=True)
        yield gauge(f"comfyui_manager_node_{name}", about, ["node"], pairs)
