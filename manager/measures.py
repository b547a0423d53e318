"""What is counted while a manager lives, for Prometheus: starts, stops, lateness, gate reloads.

A registry of its own, made when a manager is built. Whoever has something to count is handed one
of the methods as a plain callable; ``web/metrics.py`` adds what can be read at any moment.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from manager.records import Instance
from manager.states import HOLDS_PORT, State

LATENESS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
END_REASONS = ("user", "admin", "idle", "overdue", "died", "hung", "launch_failed", "shutdown")


class Measures:
    """The counters of one manager."""

    def __init__(self) -> None:
        """Begin at nothing; each reason is there from the beginning, so that a rate can be told."""
        self.registry = CollectorRegistry(auto_describe=True)
        self._starts = Counter(
            "comfyui_manager_starts",
            "Instances whose start was begun.",
            registry=self.registry,
        )
        self._stops = Counter(
            "comfyui_manager_stops",
            "Instances that have ended, by why.",
            ["reason"],
            registry=self.registry,
        )
        self._reloads = Counter(
            "comfyui_manager_gate_reloads",
            "Configurations handed to Caddy, by whether it took them.",
            ["outcome"],
            registry=self.registry,
        )
        self._lateness = Histogram(
            "comfyui_manager_watch_lateness_seconds",
            "How much later than due the check of a queue was begun.",
            buckets=LATENESS_S,
            registry=self.registry,
        )
        for reason in END_REASONS:
            self._stops.labels(reason)
        for outcome in ("taken", "refused"):
            self._reloads.labels(outcome)

    def moved(self, before: Instance, after: Instance) -> None:
        """Count a committed move of an instance."""
        if after.state is State.STARTING and before.state is not State.STARTING:
            self._starts.inc()
        if before.state in HOLDS_PORT and after.state not in HOLDS_PORT:
            self._stops.labels(after.stop_reason or "died").inc()

    def late(self, seconds: float) -> None:
        """Count a check of a queue that was begun so much later than due."""
        self._lateness.observe(seconds)

    def reloaded(self, taken: bool) -> None:
        """Count a configuration that was handed to Caddy."""
        self._reloads.labels("taken" if taken else "refused").inc()
