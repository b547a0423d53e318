"""Which port a start gets. Pure: values in, a port or a refusal out.

One rule in this storey: an assigned port and no other; for «any», the free port that has rested
longest, so that cards wear evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from manager.errors import NoFreeCard
from manager.records import Instance
from manager.states import STARTABLE


def choose(
    instances: Sequence[Instance],
    assigned_port: int | None,
    unavailable: Mapping[int, str] = MappingProxyType({}),
) -> Instance:
    """Choose the row a user's new instance takes.

    Args:
        instances: the rows of the port table, each port once.
        assigned_port: the user's own port, or None for any.
        unavailable: ports that must not be given out now, and why.

    Raises:
        NoFreeCard: none is free; ``reason`` tells an assigned port that is held (``assigned``),
            one that cannot be served (``unavailable``), one that the table no longer has
            (``removed``), and a full house (``all``).
    """
    if assigned_port is None:
        free = [row for row in instances if _free(row, unavailable)]
        if not free:
            raise NoFreeCard("every card is in use at the moment", reason="all")
        return min(free, key=lambda row: (row.ready_at or row.started_at or 0.0, row.port))
    return _assigned(instances, assigned_port, unavailable)


def _assigned(
    instances: Sequence[Instance], assigned_port: int, unavailable: Mapping[int, str]
) -> Instance:
    for row in instances:
        if row.port == assigned_port:
            if _free(row, unavailable):
                return row
            if row.state in STARTABLE:
                raise NoFreeCard(
                    f"your port {assigned_port} cannot be served: {unavailable[assigned_port]}",
                    reason="unavailable",
                    port=assigned_port,
                    why=unavailable[assigned_port],
                )
            raise NoFreeCard(
                f"your port {assigned_port} is in use at the moment",
                reason="assigned",
                port=assigned_port,
            )
    raise NoFreeCard(
        f"your port {assigned_port} no longer exists; ask the admin for another",
        reason="removed",
        port=assigned_port,
    )


def _free(row: Instance, unavailable: Mapping[int, str]) -> bool:
    return row.state in STARTABLE and row.port not in unavailable
