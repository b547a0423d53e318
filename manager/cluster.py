"""What the engine of a cluster says of its machines, asked again and again beside the work.

No request and no check of the watch waits for an engine: they read what was heard last. A port on
a machine that is not known to be there is not given out; what runs there is nobody's to end for it.
Where everything runs on this machine there is no engine, nothing is asked and nothing is closed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from manager.errors import ManagerError
from manager.launcher.engine import EngineFacts, EngineNode
from manager.ports import PortRow
from manager.records import Instance, Node

logger = logging.getLogger(__name__)

ASK_EVERY_S = 5.0
"""Between the end of one question and the next: what takes an engine long it is asked rarely."""

SILENT = "the engine of the cluster does not answer"
NOT_ASKED = "the engine of the cluster has not answered yet"


@dataclass(frozen=True)
class Heard:
    """What was heard last.

    ``facts`` is the newest answer, None before the first. ``silent_since`` (UTC epoch seconds) is
    since when there has been none; None while it answers. ``levels`` say how machines keep their
    instances apart, by machine.
    """

    facts: EngineFacts | None = None
    silent_since: float | None = None
    levels: Mapping[str, Node] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Tell whether what is known is of now."""
        return self.facts is not None and self.silent_since is None

    @property
    def nodes(self) -> Mapping[str, EngineNode]:
        """Give the machines by name, as last heard."""
        return {node.name: node for node in self.facts.nodes} if self.facts else {}


def _nothing(_stop: threading.Event) -> None:
    """Hear nobody."""


class Cluster:
    """The machines of one manager's port table."""

    def __init__(
        self,
        rows: Sequence[PortRow],
        kind: str,
        ask: Callable[[], EngineFacts | None] | None,
        levels: Callable[[], Sequence[Node]] = tuple,
        *,
        listen: Callable[[threading.Event], None] = _nothing,
        every_s: float = ASK_EVERY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Bind; asks nothing yet.

        Args:
            rows: the port table.
            kind: what the cards are.
            ask: asks the engine; None where there is none.
            levels: asks how machines keep their instances apart.
            listen: hears the engine until told to stop, for a thread of its own.
            every_s: seconds to rest between two questions.
            clock: gives UTC epoch seconds.
        """
        self._rows = rows
        self._kind = kind
        self._ask = ask
        self._levels = levels
        self.listen = listen
        self._every_s = every_s
        self._clock = clock
        self._heard = Heard()
        self._closed: dict[int, str] = {}
        self._names: dict[str, str] = {}
        if ask is not None:
            self._take(self._heard)

    def heard(self) -> Heard | None:
        """Give what was heard last; None where there is no engine."""
        return self._heard if self._ask is not None else None

    @property
    def unavailable(self) -> dict[int, str]:
        """Give the ports whose machine is not known to be there, and why."""
        return dict(self._closed)

    def where(self, row: PortRow, instance: Instance | None = None) -> str | None:
        """Name the machine of a port, or where its instance answers; None for this machine.

        ``any`` until an instance that may be anywhere has answered.
        """
        if row.node is None or row.wanted_node is not None:
            return row.node
        address = instance.address if instance is not None else None
        return row.node if address is None else self._names.get(address.host, address.host)

    def hosts(self, node: str | None) -> tuple[str, ...]:
        """Give the addresses by which a machine is reached; those of all that are there for any."""
        nodes = self._heard.nodes
        if node is not None:
            return (nodes[node].host,) if node in nodes else ()
        return tuple(one.host for one in nodes.values() if one.alive and self._has_cards(one))

    def run(self, stop: threading.Event) -> None:
        """Ask until told to stop; ends at once where there is no engine."""
        while self._ask is not None and not stop.is_set():
            self.look()
            stop.wait(self._every_s)

    def look(self) -> None:
        """Ask once."""
        if self._ask is None:
            return
        try:
            facts = self._ask()
            levels = {node.name: node for node in self._levels()}
        except (ManagerError, OSError) as error:
            logger.warning("cluster: %s", error)
            facts, levels = None, {}
        before = self._heard
        if facts is not None:
            self._take(Heard(facts, None, levels))
            if not before.answers:
                logger.info("cluster: %s %s, %d nodes", facts.kind, facts.version, len(facts.nodes))
            return
        if before.silent_since is None:
            logger.warning("cluster: %s: nothing is started, nothing is given up", SILENT)
            self._take(replace(before, silent_since=self._clock()))

    def _take(self, heard: Heard) -> None:
        nodes = heard.nodes
        reasons = {row.port: self._why_not(row, heard, nodes) for row in self._rows}
        self._heard = heard
        self._closed = {port: why for port, why in reasons.items() if why}
        self._names = {node.host: node.name for node in nodes.values()}

    def _why_not(self, row: PortRow, heard: Heard, nodes: Mapping[str, EngineNode]) -> str:
        """Say why nothing can be started on a port now; empty when something can."""
        if not heard.answers:
            return SILENT if heard.silent_since is not None else NOT_ASKED
        if row.wanted_node is None:
            usable = any(node.alive and self._has_cards(node) for node in nodes.values())
            return "" if usable else f"no node with a card of kind {self._kind} is there"
        node = nodes.get(row.wanted_node)
        if node is None:
            return f"the engine of the cluster knows no node {row.wanted_node}"
        if not node.alive:
            told = (
                "nobody can tell how node" if node.alive is None else "there is no answer of node"
            )
            return f"{told} {node.name}{' is' if node.alive is None else ''}"
        return "" if self._has_cards(node) else f"node {node.name} has no card of kind {self._kind}"

    def _has_cards(self, node: EngineNode) -> bool:
        # Processors are always there; an engine need not count them as cards.
        return self._kind == "cpu" or node.cards.get(self._kind, 0) > 0
