"""What a user may ask for against the idle limit: some more time, or to be left until later.

«I am still here» moves the end by some minutes, a few times a session, less while others wait. An
announcement («I will send work until then») keeps the session for so long, within one sum for each
session. Both are written with the wall's time, for people and for the next manager, and decided by
a clock that nobody can set.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from manager.errors import Conflict, NotRunning
from manager.idle import AWAKE, EXTENDED
from manager.lifecycle.moves import Moves
from manager.permits import Grant
from manager.records import AuditEntry, Instance, User
from manager.settings import Settings
from manager.states import State
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

SHORTEST_AWAKE_S = 60


class Grants:
    """The grants of one manager."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        moves: Moves,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; ``load`` reads what an earlier manager granted."""
        self._settings = settings
        self._store = store
        self._moves = moves
        self._monotonic = monotonic
        self._known: dict[str, Grant] = {}
        self._until: dict[str, tuple[float, float]] = {}

    def load(self) -> None:
        """Read what is granted."""
        for grant in self._store.read(lambda t: t.grants.all()):
            self._keep(grant)

    def of(self, launch_id: str) -> Grant:
        """Give what a launch was granted."""
        return self._known.get(launch_id) or Grant(launch_id)

    def held(self, launch_id: str) -> tuple[float, str]:
        """Say for how many seconds a launch is still not to be ended, and by which of the two."""
        extended, awake = self._until.get(launch_id, (0.0, 0.0))
        left = max(extended, awake) - self._monotonic()
        return (left, AWAKE if awake >= extended else EXTENDED) if left > 0 else (0.0, "")

    def awake_until(self, launch_id: str) -> float | None:
        """Say until when (UTC epoch seconds) a launch is kept by an announcement; None: not."""
        until = self._until.get(launch_id, (0.0, 0.0))[1]
        return self.of(launch_id).awake_until if until > self._monotonic() else None

    def extension(self, row: Instance) -> tuple[float, int, bool]:
        """Say what one more click adds in seconds, how many are left, and whether others wait."""
        waits = self._store.read(lambda t: others_wait(t, row.port))
        seconds = self._settings.extend_by_waiting if waits else self._settings.extend_by
        used = self.of(row.launch_id or "").extensions
        return (
            min(seconds, self._settings.extend_by),
            max(0, self._settings.extend_most - used),
            waits,
        )

    def awake_left(self, launch_id: str) -> float:
        """Say how many seconds may still be announced."""
        return max(0.0, self._settings.keep_awake_max - self._spent(self.of(launch_id)))

    def extend(self, user: User, left: float | None) -> None:
        """Move the end of a user's session; ``left`` are the seconds until then.

        Raises:
            NotRunning: none of his runs.
            Conflict: nothing counts down (``extend_not_due``), he has used up what he may
                (``extend_used``), or others wait and the settings then allow none
                (``extend_waiting``).
        """
        if left is None:
            raise Conflict("nothing counts down", reason="extend_not_due")

        def work(t: Tables) -> tuple[Instance, Grant, float]:
            row, grant = self._running(t, user.id)
            if not self._settings.extend_by or grant.extensions >= self._settings.extend_most:
                raise Conflict("no extension is left", reason="extend_used")
            waits = others_wait(t, row.port)
            seconds = self._settings.extend_by
            if waits:
                seconds = min(seconds, self._settings.extend_by_waiting)
            if not seconds:
                raise Conflict("others wait for this card", reason="extend_waiting")
            until = self._moves.clock() + left + seconds
            grant = replace(grant, extensions=grant.extensions + 1, extended_until=until)
            t.grants.put(grant)
            detail = f"{seconds} s, {grant.extensions} of {self._settings.extend_most}"
            self._audit(t, user, "idle_extend", row, detail + (", others wait" if waits else ""))
            return row, grant, left + seconds

        row, grant, held = self._store.write(work)
        awake = self._until.get(grant.launch_id, (0.0, 0.0))[1]
        self._known[grant.launch_id] = grant
        self._until[grant.launch_id] = (self._monotonic() + held, awake)
        self._tell(row, user, f"goes on for {held:.0f} s")

    def keep_awake(self, user: User, seconds: float) -> None:
        """Keep a user's session for so long, because he will send work; anew if it is kept already.

        Raises:
            NotRunning: none of his runs.
            Conflict: it is more than he may still announce (``awake_too_long``, with ``minutes``).
        """

        def work(t: Tables) -> tuple[Instance, Grant]:
            row, grant = self._running(t, user.id)
            now, spent = self._moves.clock(), self._spent(grant)
            most = self._settings.keep_awake_max - spent
            if not SHORTEST_AWAKE_S <= seconds <= most:
                minutes = max(0, int(most // 60))
                raise Conflict("too long", reason="awake_too_long", minutes=minutes)
            grant = replace(grant, awake_from=now, awake_until=now + seconds, awake_spent=spent)
            t.grants.put(grant)
            self._audit(t, user, "keep_awake", row, f"{seconds:.0f} s")
            return row, grant

        self._changed(*self._store.write(work), user)

    def end_awake(self, port: int, *, by: User, own: bool, seconds: float = 0) -> None:
        """End an announcement, or let it end in ``seconds`` if that is sooner.

        Args:
            port: the ComfyUI port.
            by: who asks.
            own: whether it must be his own.
            seconds: how long it may still last.

        Raises:
            NotRunning: nothing is announced there, or (``own``) it is somebody else's.
        """

        def work(t: Tables) -> tuple[Instance, Grant]:
            row = t.ports.get(port)
            grant = t.grants.of(row.launch_id or "") if row and row.state is State.RUNNING else None
            if row is None or grant is None or grant.awake_until is None:
                raise NotRunning("nothing is announced", reason="awake")
            if own and row.user_id != by.id:
                raise NotRunning("this is not yours", reason="awake")
            if seconds:
                until = min(grant.awake_until, self._moves.clock() + seconds)
                grant = replace(grant, awake_until=until)
            else:
                spent = self._spent(grant)
                grant = replace(grant, awake_from=None, awake_until=None, awake_spent=spent)
            t.grants.put(grant)
            self._audit(t, by, "keep_awake_end", row, f"in {seconds:.0f} s" if seconds else "")
            return row, grant

        self._changed(*self._store.write(work), by)

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch that has ended."""
        self._known.pop(launch_id, None)
        self._until.pop(launch_id, None)

    def _running(self, t: Tables, user_id: int) -> tuple[Instance, Grant]:
        row = t.ports.of_user(user_id)
        if row is None or row.state is not State.RUNNING:
            raise NotRunning("your ComfyUI is not running", reason="grant")
        return row, t.grants.of(row.launch_id or "")

    def _spent(self, grant: Grant) -> float:
        """Give the seconds announced so far; of what is in force, those that have passed."""
        if grant.awake_from is None or grant.awake_until is None:
            return grant.awake_spent
        passed = min(self._moves.clock(), grant.awake_until) - grant.awake_from
        return grant.awake_spent + max(0.0, passed)

    def _keep(self, grant: Grant) -> None:
        wall, now = self._moves.clock(), self._monotonic()
        longest = self._settings.idle_timeout + self._settings.extend_by
        # The wall's clock may have been set: nothing is held longer than could have been asked for.
        extended = min((grant.extended_until or 0.0) - wall, longest)
        awake = min((grant.awake_until or 0.0) - wall, self._settings.keep_awake_max)
        self._known[grant.launch_id] = grant
        self._until[grant.launch_id] = (now + extended, now + awake)

    def _changed(self, row: Instance, grant: Grant, by: User) -> None:
        extended = self._until.get(grant.launch_id, (0.0, 0.0))[0]
        self._keep(grant)
        self._until[grant.launch_id] = (extended, self._until[grant.launch_id][1])
        until = grant.awake_until
        words = "is not kept any more" if until is None else "is kept for announced work"
        self._tell(row, by, words)

    def _tell(self, row: Instance, by: User, words: str) -> None:
        logger.info("端口 %d: %s's ComfyUI %s (%s)", row.port, row.username, words, by.username)
        self._moves.tell(row.port, row.user_id or 0)

    def _audit(self, t: Tables, by: User, action: str, row: Instance, detail: str) -> None:
        subject = f"port {row.port} {row.username}"
        t.audit.add(AuditEntry(self._moves.clock(), by.username, action, subject, detail))


def others_wait(t: Tables, port: int) -> bool:
    """Tell whether somebody is in line who could use a port and has no other kept for him."""
    return any(one.offered_port is None and one.may_use(port) for one in t.line.waiting())
