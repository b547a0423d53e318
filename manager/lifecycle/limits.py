"""What users are allowed: who may start now, and how long a session may still go on.

Nothing that works is ever ended for a limit. When the time of a session is over it ends as soon as
its queue is empty, which the watch sees to; with ``LIMIT_GRACE`` its workspace is closed some time
after, so that the queue is worked off and nobody adds to it. How long a session has lasted is
decided by a clock that nobody can set; what a day is, the server's own calendar says.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from manager import days
from manager.allowance import Allowance, Blocked, TimeLeft, allowance, time_left
from manager.errors import LimitReached, NotFound
from manager.permits import UserLimits
from manager.records import AuditEntry, Instance, User
from manager.settings import Settings
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

MIB, GIB = 1 << 20, 1 << 30


class Limits:
    """The limits of one manager's users."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; ``clock`` gives UTC epoch seconds, ``monotonic`` seconds that only pass."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._own: dict[int, UserLimits] | None = None
        self._changes = 0
        self._begun: dict[str, float] = {}
        self._before: dict[str, tuple[str, float]] = {}
        self._bounds = ("", 0.0, 0.0)

    def all(self) -> Mapping[int, UserLimits]:
        """Give what is set for single users, by user."""
        own, changes = self._own, self._changes
        if own is None:
            # Asked for each running instance each second, and changed here alone.
            own = {one.user_id: one for one in self._store.read(lambda t: t.limits.all())}
            # What was read before a change must not be kept after it.
            self._own = own if changes == self._changes else None
        return own

    def of_user(self, user_id: int) -> Allowance:
        """Give what is in force for a user."""
        return allowance(self.all().get(user_id, UserLimits(user_id)), self._settings)

    def put(self, *limits: UserLimits, by: User) -> None:
        """Set users' limits, all or none; who may not start any more leaves the waiting line.

        Raises:
            NotFound: there is no such user.
        """
        written = self._store.write(lambda t: [self._put(t, one, by) for one in limits])
        self._changes += 1
        self._own = None
        for said in written:
            logger.info("limits of %s (%s)", said, by.username)

    def _put(self, t: Tables, limits: UserLimits, by: User) -> str:
        user = t.users.get(limits.user_id)
        if user is None:
            raise NotFound("there is no such user", reason="user")
        t.limits.put(limits)
        if self._blocked(t, user.id):
            t.line.remove(user.id)
        detail = " ".join(
            f"{name}={'default' if value is None else value}"
            for name, value in vars(limits).items()
            if name != "user_id"
        )
        entry = AuditEntry(self._clock(), by.username, "limits_changed", user.username, detail)
        t.audit.add(entry)
        return f"{user.username}: {detail}"

    def check(self, t: Tables, user_id: int) -> None:
        """See inside a transaction that a user may start.

        Raises:
            LimitReached: he may not (``sessions``), not before another day (``day``), or not
                before his folders take less (``disk``).
        """
        blocked = self._blocked(t, user_id)
        if blocked is None:
            return
        if blocked.reason == "disk":
            used, limit = (f"{size / GIB:.1f} GiB" for size in (blocked.used, blocked.limit))
            raise LimitReached(
                f"the folders take {used}, of {limit}", reason="disk", used=used, limit=limit
            )
        if blocked.again_at is None:
            raise LimitReached("the account may start nothing for now", reason="sessions")
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(blocked.again_at))
        raise LimitReached(
            f"the time for today is used up; again at {when}", reason="day", time=when
        )

    def blocked(self, user_id: int) -> Blocked | None:
        """Say why somebody who has nothing running may not start, if so."""
        allowed = self.of_user(user_id)
        if allowed.sessions_at_once and not allowed.day_limit and not allowed.disk_limit:
            return None
        return self._store.read(lambda t: self._blocked(t, user_id))

    def used_today(self, user_id: int) -> float:
        """Say how long a user's ended sessions held cards today."""
        day = days.day_of(self._clock())
        return self._store.read(lambda t: t.usage.ended_on(user_id, day))

    def _blocked(self, t: Tables, user_id: int) -> Blocked | None:
        allowed = allowance(t.limits.of_user(user_id), self._settings)
        if not allowed.sessions_at_once:
            return Blocked("sessions")
        day = days.day_of(self._clock())
        if allowed.day_limit and t.usage.ended_on(user_id, day) >= allowed.day_limit:
            return Blocked("day", days.begin_of(days.earlier(day, -1)))
        use = t.disk_use.of_user(user_id) if allowed.disk_limit else None
        if use is not None and use.total > allowed.disk_limit * MIB:
            return Blocked("disk", used=use.total, limit=allowed.disk_limit * MIB)
        return None

    def time(self, row: Instance) -> TimeLeft | None:
        """Say how long an instance may still go on; None without a limit."""
        if row.user_id is None or row.launch_id is None:
            return None
        allowed = self.of_user(row.user_id)
        if not allowed.session_limit and not allowed.day_limit:
            return None
        age = self._age(row.launch_id, row)
        used = day_left = 0.0
        if allowed.day_limit:
            used, day_left = self._today(row.launch_id, row.user_id, age)
        grace = float(self._settings.limit_grace)
        return time_left(allowed, age=age, used=used, day_left=day_left, grace=grace)

    def is_over(self, row: Instance) -> bool:
        """Tell whether an instance is to end as soon as it has no work."""
        left = self.time(row)
        return left is not None and left.over

    def is_shut(self, row: Instance) -> bool:
        """Tell whether an instance's gate is to be closed although it works on."""
        left = self.time(row) if self._settings.limit_grace else None
        return left is not None and left.shut

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch."""
        self._begun.pop(launch_id, None)
        self._before.pop(launch_id, None)

    def _age(self, launch_id: str, row: Instance) -> float:
        now = self._monotonic()
        if launch_id not in self._begun:
            # An earlier manager's, by a clock that may have been set meanwhile.
            started = self._clock() if row.started_at is None else row.started_at
            self._begun[launch_id] = now - max(0.0, self._clock() - started)
        return now - self._begun[launch_id]

    def _today(self, launch_id: str, user_id: int, age: float) -> tuple[float, float]:
        """Give how long cards were held today, this launch included, and how long the day is."""
        now = self._clock()
        day = days.day_of(now)
        found = self._before.get(launch_id)
        if found is None or found[0] != day:
            # What ended before does not change any more: each user has one session at once.
            found = (day, self.used_today(user_id))
            self._before[launch_id] = found
        if self._bounds[0] != day:
            end = days.begin_of(days.earlier(day, -1))
            self._bounds = (day, days.begin_of(day), end)
        _, begin, end = self._bounds
        return found[1] + min(age, max(0.0, now - begin)), max(0.0, end - now)
