"""What the pages ask of the machines of a cluster, as protocols."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from manager.cluster import Heard
from manager.ports import PortRow
from manager.records import Instance


class Cluster(Protocol):
    """The machines of the port table, as last heard."""

    def heard(self) -> Heard | None:
        """Give what was heard last; None where there is no engine."""

    @property
    def unavailable(self) -> Mapping[int, str]:
        """Give the ports whose machine is not known to be there, and why."""

    def where(self, row: PortRow, instance: Instance | None = None, /) -> str | None:
        """Name the machine of a port, or where its instance answers; None for this machine."""


class WithCluster(Protocol):
    """A manager that may have other machines."""

    @property
    def cluster(self) -> Cluster:
        """The machines that instances run on."""
