"""Launches that live but belong to no row: shown to the admins, never ended by themselves.

They come from a lost or restored database. Somebody's work may run in them, so ending one is for
a person to decide; until then its port, and with it its card, is not given out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from manager.errors import NotFound
from manager.launcher.protocol import Launcher, Liveness
from manager.records import AuditEntry, Leftover, User
from manager.settings import Settings
from manager.store import Store

logger = logging.getLogger(__name__)


class Leftovers:
    """The leftovers on this machine, as last seen."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        launcher: Launcher,
        clock: Callable[[], float],
    ) -> None:
        """Bind; ``look`` finds them."""
        self._settings = settings
        self._store = store
        self._launcher = launcher
        self._clock = clock
        self._lock = threading.Lock()
        self._found: dict[str, Leftover] = {}
        self._ending: set[str] = set()

    @property
    def unavailable(self) -> dict[int, str]:
        """Give the ports that leftovers have, and why they are not given out."""
        return {
            one.port: f"a leftover instance (launch {one.launch_id}) still runs on it"
            for one in self.all()
            if one.port is not None
        }

    def all(self) -> list[Leftover]:
        """List them, the oldest first."""
        return sorted(dict(self._found).values(), key=lambda one: (one.since or 0.0, one.launch_id))

    def look(self) -> None:
        """Find them. A launch whose row is released meanwhile is not taken for one."""
        # The launches first: whatever is begun later has its row before it has a process.
        living = self._launcher.list()
        if living is None:
            # Nobody can tell: what was there may still be.
            return
        owned = {row.launch_id for row in self._store.read(lambda t: t.ports.holding())}
        found = {}
        for launch_id in living:
            if launch_id not in owned:
                seen = self._describe(launch_id)
                if seen is not None:
                    found[launch_id] = seen
        with self._lock:
            new = [one for one in found.values() if one.launch_id not in self._found]
            self._found = found
            self._ending &= found.keys()
        for one in new:
            logger.warning(
                "leftover: launch %s of %s, port %s, pid %s, belongs to no row",
                one.launch_id,
                one.username or "somebody unknown",
                one.port or "unknown",
                one.pid,
            )

    def stop(self, launch_id: str, *, by: User) -> None:
        """Begin to end one; ``step`` repeats it until it is gone.

        Raises:
            NotFound: there is no such leftover.
        """
        one = self._found.get(launch_id)
        if one is None:
            raise NotFound("there is no such leftover", reason="leftover")
        subject = f"launch {launch_id} {one.username or ''}".strip()
        detail = f"port {one.port}" if one.port else ""
        entry = AuditEntry(self._clock(), by.username, "leftover_stop", subject, detail)
        self._store.write(lambda t: t.audit.add(entry))
        self.end(launch_id)
        logger.info("leftover: launch %s is being ended by %s", launch_id, by.username)

    def end(self, launch_id: str) -> None:
        """Have one ended, whoever asked."""
        with self._lock:
            self._ending.add(launch_id)
        self._launcher.stop(launch_id, force=True)

    def step(self) -> bool:
        """Go on ending those that are to end; tell whether any of them has just gone."""
        gone = False
        for launch_id in list(self._ending):
            if self._launcher.poll(launch_id).liveness is not Liveness.GONE:
                self._launcher.stop(launch_id, force=True)
                continue
            gone = True
            with self._lock:
                self._ending.discard(launch_id)
                self._found.pop(launch_id, None)
            logger.info("leftover: launch %s is gone", launch_id)
        return gone

    def is_ending(self, launch_id: str) -> bool:
        """Tell whether one is being ended."""
        return launch_id in self._ending

    def _describe(self, launch_id: str) -> Leftover | None:
        report = self._launcher.poll(launch_id)
        if report.liveness is Liveness.GONE:
            return None
        facts = self._launcher.describe(launch_id)
        port = _number(facts.labels.get("port"))
        known = {row.port for row in self._settings.ports}
        return Leftover(
            launch_id=launch_id,
            user_id=_number(facts.labels.get("user_id")),
            username=facts.labels.get("username"),
            port=port if port in known else None,
            card=_number(facts.labels.get("card")),
            pid=report.pid,
            since=facts.since,
        )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
