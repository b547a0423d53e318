"""The book of use: what sessions were used for, written now and then, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from manager import days, start_times
from manager.counts import Counted, Held, Own, Sitting, Total
from manager.settings import Settings
from manager.start_times import Usual
from manager.store import Store, Tables

STARTS_LOOKED_AT = 20
"""Earlier starts that an estimate looks back on, of a user and of all."""

MOST_REMEMBERED = 64
"""Launches whose estimate is kept in memory; only those that are starting are asked about."""


class Book:
    """Writes what the watch counts, and reads it for people."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], float]) -> None:
        """Bind; ``clock`` gives UTC epoch seconds."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._pruned_on = ""
        self._usual: dict[str, Usual | None] = {}

    def note(self, idle_counts: Mapping[str, int], counted: Sequence[Counted]) -> None:
        """Write the idle seconds of each launch and what was counted; nothing where both are empty.

        Once a day it also removes what is older than it is to be kept.
        """
        if idle_counts or counted:
            now = self._clock()

            def work(t: Tables) -> None:
                t.ports.note_checks(idle_counts)
                for one in counted:
                    t.usage.count(one, now)

            self._store.write(work)
        self._prune()

    def _prune(self) -> None:
        today = self.today()
        if not self._settings.usage_keep_days or today == self._pruned_on:
            return
        before = days.begin_of(days.earlier(today, self._settings.usage_keep_days))
        if self._store.read(lambda t: t.usage.any_before(before)):
            self._store.write(lambda t: t.usage.prune(before))
        self._pruned_on = today

    def last_prompt(self, launch_id: str) -> str | None:
        """Give the newest finished prompt of a launch that is counted, empty before the first."""
        return self._store.read(lambda t: t.usage.last_prompt(launch_id))

    def today(self) -> str:
        """Give the day it is here."""
        return days.day_of(self._clock())

    def totals(self, group: str, since: str) -> Sequence[Total]:
        """Give the totals from the day ``since`` on, by ``user``, ``day`` or ``card``."""
        return self._store.read_long(lambda t: t.totals.by(group, since))

    def held_by_day(self, since: str, most: int) -> Sequence[Held]:
        """Give by days what the ``most`` users with most time held, and the rest together."""
        return self._store.read_long(lambda t: t.totals.held_by_day(since, most))

    def sittings(self, since: str, most: int) -> Sequence[Sitting]:
        """List the newest ``most`` sessions that held a card on ``since`` or later."""
        return self._store.read_long(lambda t: t.totals.sittings(since, most))

    def own(self, user_id: int, most: int) -> Own:
        """Give a user's own use: today, since Monday, and the newest ``most`` sessions."""
        return self._store.read(lambda t: t.totals.own(user_id, self.today(), most))

    def usual_start(self, launch_id: str, user_id: int) -> Usual | None:
        """Say how long a user's start usually takes; None where earlier ones say too little.

        The database is asked once a launch, by whoever shows it.
        """
        if launch_id in self._usual:
            return self._usual[launch_id]
        most = STARTS_LOOKED_AT
        own, others = self._store.read(
            lambda t: (t.usage.start_times(most, user_id), t.usage.start_times(most))
        )
        found = start_times.usual(own, others, float(self._settings.start_timeout))
        while len(self._usual) >= MOST_REMEMBERED:
            self._usual.pop(next(iter(self._usual)), None)
        self._usual[launch_id] = found
        return found
