"""``/metrics`` for Prometheus: what can be read of every room at this moment, and what was counted.

Asked with a token of its own (``DATA_DIR/metrics_token``) or from a network that is named; a login
neither helps nor is needed. No name of a user is in it.
"""

from __future__ import annotations

import hmac
import platform
from collections import Counter
from collections.abc import Iterator

from flask import Blueprint, Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from manager import __version__
from manager.cards.reading import MIB, Reading
from manager.networks import within
from manager.records import Instance
from manager.states import State
from manager.web.cluster_metrics import cluster_gauges, node_label
from manager.web.gauge import gauge
from manager.web.house import Manager
from manager.web.services import services

metrics = Blueprint("metrics", __name__)
EXTENSION = "comfyui_manager_metrics"


def init_app(app: Flask, manager: Manager) -> None:
    """Add what can be read at any moment to the manager's counters."""
    registry = manager.measures.registry
    registry.register(Rooms(manager))
    app.extensions[EXTENSION] = registry
    app.register_blueprint(metrics)


@metrics.before_request
def check() -> ResponseReturnValue | None:
    """Answer nobody else, whatever the method."""
    if _allowed():
        return None
    headers = {"WWW-Authenticate": 'Bearer realm="metrics"'}
    return Response("Bearer token needed.\n", 401, headers, mimetype="text/plain")


@metrics.get("/metrics")
def show() -> ResponseReturnValue:
    """Give everything in Prometheus' text form."""
    return Response(
        generate_latest(current_app.extensions[EXTENSION]), content_type=CONTENT_TYPE_LATEST
    )


def _allowed() -> bool:
    manager = services().manager
    given = request.headers.get("Authorization", "")
    if hmac.compare_digest(
        given.encode("utf-8", "replace"), f"Bearer {manager.metrics_token}".encode()
    ):
        return True
    return within(request.remote_addr, manager.settings.metrics_networks)


class Rooms(Collector):
    """What the rooms say when they are asked; cheap, for all of it is known already."""

    def __init__(self, manager: Manager) -> None:
        """Bind."""
        self._manager = manager

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Describe nothing: registering must not ask the rooms."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask."""
        build = [([__version__, platform.python_version()], 1.0)]
        yield gauge(
            "comfyui_manager_build_info", "Which version runs.", ["version", "python"], build
        )
        yield from self._ports()
        yield from self._house()
        yield from self._cards()
        yield from cluster_gauges(self._manager)

    def _ports(self) -> Iterator[GaugeMetricFamily]:
        manager = self._manager
        rows = manager.lifecycle.instances()
        count = Counter(str(row.state) for row in rows)
        yield gauge(
            "comfyui_manager_ports",
            "Ports of the table, by state.",
            ["state"],
            [([str(state)], count[str(state)]) for state in State],
        )
        labels = ["port", "card", *node_label(manager)]
        words = {row.port: _port_words(manager, row) for row in rows}
        readings = [
            (words[row.port], manager.watch.reading(row.port))
            for row in rows
            if row.state is State.RUNNING
        ]
        told = [(one, seen) for one, seen in readings if seen is not None]
        for name, about, values in (
            ("queue_running", "Jobs being worked on.", [(w, s.running) for w, s in told]),
            ("queue_pending", "Jobs waiting.", [(w, s.pending) for w, s in told]),
            ("idle_seconds", "Time without work.", [(w, s.idle_seconds) for w, s in told]),
            (
                "responding",
                "1 when the last check was answered.",
                [(w, s.responding) for w, s in told],
            ),
        ):
            yield gauge(f"comfyui_manager_port_{name}", about, labels, values)

    def _house(self) -> Iterator[GaugeMetricFamily]:
        manager = self._manager
        load, gate = manager.load.latest(), manager.gate.watch()
        lifecycle = manager.lifecycle
        for name, about, value in (
            ("line_length", "Users waiting for a port.", len(lifecycle.line.all())),
            ("quarantined_ports", "Ports held back.", len(lifecycle.quarantine.all())),
            (
                "unavailable_ports",
                "Ports not given out, for any reason.",
                len(lifecycle.unavailable),
            ),
            ("leftovers", "Launches that belong to no row.", len(lifecycle.leftovers.all())),
            ("maintenance", "1 while nothing is started.", lifecycle.maintenance.now() is not None),
            (
                "gate_up",
                "1 when Caddy runs and nothing is wrong.",
                gate.running and not gate.problem,
            ),
            (
                "certificate_expires_timestamp_seconds",
                "When the certificate of TLS_CERT or of the domain ends.",
                gate.certificate_until,
            ),
            ("disk_free_bytes", "Free where users' files are.", load.disk_free if load else None),
            (
                "slowdown",
                "How many times more rarely pages are updated.",
                load.slowdown if load else None,
            ),
        ):
            yield gauge(f"comfyui_manager_{name}", about, [], [([], value)])

    def _cards(self) -> Iterator[GaugeMetricFamily]:
        manager = self._manager
        states = [(card, manager.sampler.state(card.device)) for card in manager.cards]
        seen = [(card, state.reading, not state.busy) for card, state in states if state]
        labels = ["card", "device", "kind"]
        words = [[str(card.card), str(card.device), card.kind] for card, _, _ in seen]
        readings = [reading for _, reading, _ in seen]
        for name, about, values in (
            ("known", "1 when its tool says something.", [not one.unknown for one in readings]),
            ("given_out", "1 when it may be given out.", [given for _, _, given in seen]),
            ("utilization_percent", "Use.", [one.utilisation for one in readings]),
            ("memory_used_bytes", "Memory in use.", [one.memory_used for one in readings]),
            ("memory_total_bytes", "Memory installed.", [one.memory_total for one in readings]),
            ("temperature_celsius", "Temperature.", [one.temperature for one in readings]),
            ("power_watts", "Power.", [one.power for one in readings]),
        ):
            pairs = zip(words, values, strict=True)
            yield gauge(f"comfyui_manager_card_{name}", about, labels, pairs)
        for kind, label, families in VENDORS:
            mine = [(str(card.device), reading) for card, reading, _ in seen if card.kind == kind]
            for name, about, ask in families if mine else ():
                yield gauge(name, about, [label], [([one], ask(reading)) for one, reading in mine])


def _port_words(manager: Manager, row: Instance) -> list[str]:
    entry = manager.settings.row(row.port)
    node = manager.cluster.where(entry, row)
    return [str(row.port), str(entry.card), *([node] if node is not None else [])]


def _mib(count: int | None) -> float | None:
    return None if count is None else count / MIB


def _free(one: Reading) -> int | None:
    if one.memory_total is None or one.memory_used is None:
        return None
    return one.memory_total - one.memory_used


def _well(one: Reading) -> float | None:
    return float(one.health.lower() == "ok") if one.health else None


VENDORS = (
    (
        "ascend",
        "id",
        (
            ("npu_chip_info_utilization", "Use, %.", lambda one: one.utilisation),
            ("npu_chip_info_temperature", "Degrees Celsius.", lambda one: one.temperature),
            ("npu_chip_info_power", "Watts.", lambda one: one.power),
            ("npu_chip_info_health_status", "1 healthy, 0 not.", _well),
            ("npu_chip_info_hbm_used_memory", "MiB.", lambda one: _mib(one.memory_used)),
            ("npu_chip_info_hbm_total_memory", "MiB.", lambda one: _mib(one.memory_total)),
        ),
    ),
    (
        "cuda",
        "gpu",
        (
            ("DCGM_FI_DEV_GPU_UTIL", "Use, %.", lambda one: one.utilisation),
            ("DCGM_FI_DEV_GPU_TEMP", "Degrees Celsius.", lambda one: one.temperature),
            ("DCGM_FI_DEV_POWER_USAGE", "Watts.", lambda one: one.power),
            ("DCGM_FI_DEV_FB_USED", "MiB.", lambda one: _mib(one.memory_used)),
            ("DCGM_FI_DEV_FB_FREE", "MiB.", lambda one: _mib(_free(one))),
        ),
    ),
)
"""The same numbers under the names that dashboards for the vendors' own exporters ask for: those of
Ascend's npu-exporter and NVIDIA's dcgm-exporter."""
