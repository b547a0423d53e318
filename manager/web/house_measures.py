"""What ``/metrics`` asks of the counters, and the machine's load, as protocols."""

from __future__ import annotations

from typing import Protocol

from prometheus_client import CollectorRegistry


class Measures(Protocol):
    """What is counted."""

    @property
    def registry(self) -> CollectorRegistry:
        """Where the counters are."""


class LoadReading(Protocol):
    """How busy the machine is. Sizes in bytes."""

    @property
    def cpu_percent(self) -> float:
        """All cores together, 0 to 100."""

    @property
    def memory_percent(self) -> float:
        """Share in use."""

    @property
    def memory_used(self) -> int:
        """In use."""

    @property
    def memory_total(self) -> int:
        """Installed."""

    @property
    def disk_percent(self) -> float:
        """Share in use of the data folder's disk."""

    @property
    def disk_free(self) -> int:
        """Free on the data folder's disk."""

    @property
    def slowdown(self) -> int:
        """How many times more rarely pages are updated because of it; 1 at full speed."""


class Load(Protocol):
    """The machine's load."""

    def latest(self) -> LoadReading | None:
        """Give the newest reading."""
