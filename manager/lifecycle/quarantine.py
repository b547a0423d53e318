"""Proof that a port and its card are free, and the ports held back for want of it.

A tree that is gone is not yet a free card: somebody else may listen on the port by now, a process
that hid from its own launch may still hold the card's device node, and the card's memory may not
be back. While that lasts the row is not released; after ``QUARANTINE_AFTER`` it is, and the port is
held back until an admin has looked at it. Where the card's tool cannot say, it holds up nothing;
but a card that it saw in use after the end is not taken for free because it then fell silent. Of a
card on another machine no tool is asked here; which processes had it open there at the end is for
the launcher to tell, and what it cannot tell holds the port back.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from manager import cards
from manager.cards import handles
from manager.cards.sampler import CARD_MEMORY, Sampler, left_behind
from manager.errors import ManagerError, NotFound
from manager.launcher.protocol import Launcher
from manager.lifecycle.moves import Moves
from manager.ports import PortRow
from manager.records import Address, AuditEntry, Instance, Quarantined, User
from manager.settings import Settings
from manager.states import Event
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

LOOK_AGAIN_S = 1.0
"""Between two looks at a port in doubt: each walks through all open files of the machine."""

NOT_LOOKED = "the card has not been looked at since"


class Quarantine:
    """The ports of one manager that are in doubt or held back."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        launcher: Launcher,
        sampler: Sampler,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; ``load`` reads what an earlier manager held back.

        From here on the sampler knows which cards are not to be judged.
        """
        self._settings = settings
        self._store = store
        self._launcher = launcher
        self._sampler = sampler
        self._clock = clock
        self._monotonic = monotonic
        self._gone_at: dict[str, float] = {}
        self._since: dict[str, float] = {}
        self._doubts: dict[str, tuple[float, str]] = {}
        self._held: dict[int, Quarantined] = {}
        self._clear: frozenset[int] = frozenset()
        self.shutting_down = False
        """Everything ends: nobody gets a card, and the next manager's first look judges it."""
        sampler.in_use = self.in_use

    @property
    def unavailable(self) -> dict[int, str]:
        """Give the ports that are held back or whose card somebody else uses, and why."""
        states = {row.port: self._sampler.state(row.device) for row in self._settings.ports}
        taken = {port: state.busy for port, state in states.items() if state and state.busy}
        return taken | {port: entry.reason for port, entry in list(self._held.items())}

    def load(self) -> None:
        """Read what is held back."""
        self._held = {e.port: e for e in self._store.read(lambda t: t.quarantine.all())}

    def all(self) -> list[tuple[Quarantined, bool]]:
        """List what is held back, each with whether its reason has gone by now.

        A free card whose memory is in use by nobody that its tool names is among them: only an
        admin can say that it is normal.
        """
        held = [(entry, port in self._clear) for port, entry in list(self._held.items())]
        for row in self._settings.ports:
            state = self._sampler.state(row.device)
            if row.port not in self._held and state is not None and state.nobodys_memory:
                entry = Quarantined(row.port, row.card, "", state.since, state.busy)
                held.append((entry, False))
        return sorted(held, key=lambda one: one[0].port)

    def in_use(self) -> frozenset[int]:
        """Give the devices whose cards an instance of ours has, or may still have."""
        try:
            held = {row.port for row in self._store.read(lambda t: t.ports.holding())}
        except ManagerError:
            # Nothing is learned of a card that may be somebody's.
            return frozenset(row.device for row in self._settings.ports)
        held |= self._held.keys()
        return frozenset(row.device for row in self._settings.ports if row.port in held)

    def look(self) -> None:
        """See whose reason has gone; only an admin gives a port free."""
        held = list(self._held.values())
        self._clear = frozenset(e.port for e in held if self._is_clear(e))

    def doubt(self, row: Instance) -> str | None:
        """Say why a port whose tree is gone is not free, if so."""
        launch_id = row.launch_id or ""
        now = self._monotonic()
        awaited = self._awaits_look(row.port, launch_id, now)
        if awaited and not self.shutting_down:
            return NOT_LOOKED
        looked_at, last = self._doubts.get(launch_id, (float("-inf"), ""))
        if now - looked_at < LOOK_AGAIN_S:
            return last
        found = self._evidence(row.port, launch_id, self._place(row))
        if found is None:
            self.forget(launch_id)
            return None
        self._sampler.want()
        if launch_id not in self._since:
            self._since[launch_id] = now
            logger.warning("端口 %d: not released yet: %s", row.port, found)
        self._doubts[launch_id] = (now, found)
        return found

    def is_due(self, row: Instance) -> bool:
        """Tell whether a port has been in doubt for as long as it may hold up its release."""
        since = self._since.get(row.launch_id or "")
        # Not looked yet is no evidence, and has a limit of its own.
        return since is not None and self._monotonic() - since >= self._settings.quarantine_after

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
        held = self._held.get(port)
        if held is None and port not in {entry.port for entry, _ in self.all()}:
            raise NotFound("this port is not held back", reason="quarantine")

        def work(t: Tables) -> bool:
            t.audit.add(AuditEntry(self._clock(), by.username, "port_release", f"port {port}"))
            return t.quarantine.remove(port)

        self._store.write(work)
        self._held.pop(port, None)
        if held is None or held.reason.startswith(CARD_MEMORY):
            self._sampler.accept(self._settings.row(port).device)
        logger.info("端口 %d: given free by %s", port, by.username)

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch."""
        self._gone_at.pop(launch_id, None)
        self._since.pop(launch_id, None)
        self._doubts.pop(launch_id, None)

    def _awaits_look(self, port: int, launch_id: str, now: float) -> bool:
        """Tell whether the card's tool has not yet been asked since the tree was gone."""
        gone_at = self._gone_at.setdefault(launch_id, now)
        if self._sampler.fresh(self._settings.row(port).device, gone_at) is not None:
            return False
        self._sampler.want()
        return now - gone_at < self._sampler.patience_s

    def _is_clear(self, entry: Quarantined) -> bool:
        state = self._sampler.state(self._settings.row(entry.port).device)
        unseen = state is None or state.known is None
        if unseen and entry.reason.startswith(CARD_MEMORY):
            return False
        return self._evidence(entry.port, entry.launch_id, entry.address) is None

    def _place(self, row: Instance) -> Address | None:
        # Noted when it answered; one that never did may have got as far as listening.
        return row.address or self._launcher.address(row.launch_id or "")

    def _card_file(self, row: PortRow) -> Path | None:
        """Name the device node to look for in processes; of a card elsewhere its machine's own."""
        kind = cards.kind_in_force(self._settings)
        return handles.node(kind, row.device) if row.node is None else handles.any_of(kind)

    def _evidence(self, port: int, launch_id: str, address: Address | None) -> str | None:
        if address is not None:
            taken = self._launcher.taken(address)
            if taken is None:
                return f"nobody can tell whether {address} is free again"
            if taken:
                return f"another program listens on port {address.port} of {address.host}"
        row = self._settings.row(port)
        path = self._card_file(row)
        if path is not None:
            holders = self._launcher.holders(launch_id, path)
            if holders is None:
                return f"nobody can tell who has {path} open"
            if holders:
                return f"{path} is still open in process {', '.join(map(str, holders))}"
        state = self._sampler.state(row.device)
        since = self._gone_at.get(launch_id, float("-inf"))
        return None if state is None else left_behind(state, since)
