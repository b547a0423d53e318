"""Proof that a port and its card are free, and the ports held back for want of it.

A tree that is gone is not yet a free card: somebody else may listen on the port by now, and a
process that hid from its own launch may still hold the card's device node. While that lasts the
row is not released; after ``QUARANTINE_AFTER`` it is, and the port is held back until an admin
has looked at it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from manager import cards
from manager.cards import handles
from manager.errors import NotFound
from manager.launcher.protocol import Launcher
from manager.lifecycle.moves import Moves
from manager.records import Address, AuditEntry, Instance, Quarantined, User
from manager.settings import Settings
from manager.states import Event
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
"""Between two looks at a port in doubt: each walks through all open files of the machine."""


class Quarantine:
    """The ports of one manager that are in doubt or held back."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        launcher: Launcher,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; ``load`` reads what an earlier manager held back."""
        self._settings = settings
        self._store = store
        self._launcher = launcher
        self._clock = clock
        self._monotonic = monotonic
        self._since: dict[str, float] = {}
        self._doubts: dict[str, tuple[float, str]] = {}
        self._held: dict[int, Quarantined] = {}
        self._clear: frozenset[int] = frozenset()

    @property
    def unavailable(self) -> dict[int, str]:
        """Give the ports that are held back, and why."""
        return {port: entry.reason for port, entry in list(self._held.items())}

    def load(self) -> None:
        """Read what is held back."""
        self._held = {e.port: e for e in self._store.read(lambda t: t.quarantine.all())}

    def all(self) -> list[tuple[Quarantined, bool]]:
        """List what is held back, each with whether its reason has gone by now."""
        return [(entry, port in self._clear) for port, entry in sorted(self._held.items())]

    def look(self) -> None:
        """See whose reason has gone; only an admin gives a port free."""
        held = list(self._held.values())
        self._clear = frozenset(
            e.port for e in held if self._evidence(e.port, e.launch_id, e.address) is None
        )

    def doubt(self, row: Instance) -> str | None:
        """Say why a port whose tree is gone is not free, if so."""
        launch_id = row.launch_id or ""
        now = self._monotonic()
        looked_at, last = self._doubts.get(launch_id, (float("-inf"), ""))
        if now - looked_at < LOOK_AGAIN_S:
            return last
        found = self._evidence(row.port, launch_id, self._place(row))
        if found is None:
            self.forget(launch_id)
            return None
        if launch_id not in self._since:
            self._since[launch_id] = now
            logger.warning("端口 %d: not released yet: %s", row.port, found)
        self._doubts[launch_id] = (now, found)
        return found

    def is_due(self, row: Instance) -> bool:
        """Tell whether a port has been in doubt for as long as it may hold up its release."""
        since = self._since.get(row.launch_id or "", self._monotonic())
        return self._monotonic() - since >= self._settings.quarantine_after

    def free(self, moves: Moves, row: Instance, event: Event, doubt: str | None) -> None:
        """Release a row; a port that is still in doubt is held back in the same stroke."""

        def work(t: Tables) -> tuple[Instance, Quarantined | None]:
            return moves.apply(t, row, event), self._hold_back(t, row, doubt) if doubt else None

        after, held = self._store.write(work)
        if held is not None:
            self._held[row.port] = held
            logger.error("端口 %d: held back (card %d): %s", row.port, held.card, held.reason)
        moves.announce(row, after)

    def _hold_back(self, t: Tables, row: Instance, reason: str) -> Quarantined:
        now = self._clock()
        card = self._settings.row(row.port).card
        launch_id = row.launch_id or ""
        entry = Quarantined(row.port, card, launch_id, now, reason, self._place(row))
        t.quarantine.add(entry)
        t.audit.add(AuditEntry(now, "manager", "port_quarantine", f"port {row.port}", reason))
        return entry

    def release(self, port: int, *, by: User) -> None:
        """Give a port free because an admin says so.

        Raises:
            NotFound: it is not held back.
        """

        def work(t: Tables) -> bool:
            t.audit.add(AuditEntry(self._clock(), by.username, "port_release", f"port {port}"))
            return t.quarantine.remove(port)

        if port not in self._held:
            raise NotFound("this port is not held back", reason="quarantine")
        self._store.write(work)
        self._held.pop(port, None)
        logger.info("端口 %d: given free by %s", port, by.username)

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch."""
        self._since.pop(launch_id, None)
        self._doubts.pop(launch_id, None)

    def _place(self, row: Instance) -> Address | None:
        # Noted when it answered; one that never did may have got as far as listening.
        return row.address or self._launcher.address(row.launch_id or "")

    def _evidence(self, port: int, launch_id: str, address: Address | None) -> str | None:
        if address is not None:
            taken = self._launcher.taken(address)
            if taken is None:
                return f"nobody can tell whether {address} is free again"
            if taken:
                return f"another program listens on port {address.port} of {address.host}"
        row = self._settings.row(port)
        path = handles.node(cards.kind_in_force(self._settings), row.device)
        if path is None:
            return None
        holders = self._launcher.holders(launch_id, path)
        if holders is None:
            return f"nobody can tell who has {path} open"
        if not holders:
            return None
        return f"{path} is still open in process {', '.join(map(str, holders))}"
