"""Which gates are to be open, read from the store as a whole and handed to Caddy as a whole.

A gate is open for a running instance and for one that has just answered; never for one that is
stopping. So a crash at any point heals with the next reconciliation.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from manager.errors import GateFailed
from manager.gate.gate import Gate
from manager.gate.opening import Opening
from manager.records import Instance
from manager.states import State
from manager.store import Store

GATHER_S = 0.15
"""How long a gate waits at most for others that may be opened in the same change of Caddy's."""

OPEN_STATES = frozenset({State.STARTING, State.RUNNING})


def wanted_openings(rows: list[Instance]) -> dict[int, Opening]:
    """Give what each gate that is to be open needs, by port."""
    return {
        row.port: Opening(row.token, row.secret, upstream=str(row.address), owner=row.user_id or 0)
        for row in rows
        if row.state in OPEN_STATES and row.token and row.address
    }


class Doors:
    """Keeps the gates as the store wants them."""

    def __init__(
        self, store: Store, gate: Gate, is_shut: Callable[[Instance], bool] = lambda _row: False
    ) -> None:
        """Bind; ``is_shut`` tells of instances that work on with their gates closed."""
        self._store = store
        self._gate = gate
        self._is_shut = is_shut
        self._lock = threading.Lock()
        self._withheld: set[int] = set()
        self._gathering = threading.Condition()
        self._coming = self._here = 0

    def wanted(self) -> dict[int, Opening]:
        """Give what each gate that is to be open needs, by port."""
        rows = self._store.read(lambda t: t.ports.holding())
        return wanted_openings([row for row in rows if not self._is_shut(row)])

    @contextmanager
    def coming(self) -> Iterator[None]:
        """Let others know during the block that one more gate may have to be opened at its end."""
        with self._gathering:
            self._coming += 1
        try:
            yield
        finally:
            with self._gathering:
                self._coming -= 1
                self._gathering.notify_all()

    def open(self, port: int) -> None:
        """Make the gates as the store wants them, and make sure that this port's is served.

        A change costs Caddy the same for one gate and for many, so those that become ready in the
        same moment wait for each other, and who comes during a change is in the next one.

        Raises:
            GateFailed: Caddy refused, or another program holds one of the port's gate ports.
        """
        with self._gathering:
            self._here += 1
            self._gathering.notify_all()
            self._gathering.wait_for(lambda: self._coming <= self._here, GATHER_S)
        try:
            unserved = self.reconcile()
        finally:
            with self._gathering:
                self._here -= 1
        if port in unserved:
            raise GateFailed(unserved[port])

    def reconcile(self, without: int | None = None) -> dict[int, str]:
        """Make the gates as the store wants them, and ``without`` closed in any case.

        Returns:
            Wanted ports that cannot be served because another program is in the way, and why.

        Raises:
            GateFailed: Caddy refused or does not run; what was live stays.
        """
        with self._lock:
            openings = self.wanted()
            for port in self._withheld | ({without} if without is not None else set()):
                openings.pop(port, None)
            return self._gate.apply(openings)

    @contextmanager
    def withheld(self, port: int) -> Iterator[None]:
        """Have no reconciliation open a port's gate during the block, whatever the store says."""
        self._withheld.add(port)
        try:
            yield
        finally:
            self._withheld.discard(port)
