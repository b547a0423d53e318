"""One look at the house for many pages: what does not depend on who asks is asked once.

Telling hundreds of pages of the same change, each would have the whole port table read again, the
line, the reservations and what is kept for whom. For the length of one round of telling they share
one answer. What changes meanwhile is reported by itself and told in the next round.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, cast

from manager import scheduler
from manager.records import Instance
from manager.states import HOLDS_PORT
from manager.web.house import Lifecycle, Manager


class _Shared:
    """A room whose questions without an argument are asked once."""

    def __init__(self, room: object, *questions: str) -> None:
        """Share the answers to ``questions``."""
        self._room = room
        for name in questions:
            setattr(self, name, functools.cache(getattr(room, name)))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the room has
        """Hand everything else on."""
        return getattr(self._room, name)


class _SharedLifecycle(_Shared):
    """The lifecycle, with one look at the port table for all."""

    def __init__(self, room: Lifecycle) -> None:
        """Share what concerns everybody."""
        super().__init__(room, "instances")
        self.line = _Shared(room.line, "all", "lengths")
        self.reservations = _Shared(room.reservations, "all", "terms")

    @functools.cached_property
    def unavailable(self) -> Mapping[int, str]:
        """Give the ports that are not given out now, and why."""
        return cast("Lifecycle", self._room).unavailable

    @functools.cached_property
    def _held(self) -> Mapping[int | None, Instance]:
        rows: Sequence[Instance] = self.instances()
        return {row.user_id: row for row in rows if row.state in HOLDS_PORT}

    def of_user(self, user_id: int) -> Instance | None:
        """Give the instance that a user holds."""
        return self._held.get(user_id)

    @functools.cached_property
    def given(self) -> Mapping[int, int]:
        """Give for whom in the line each free port is that somebody waits for."""
        return allotted(cast("Lifecycle", self))


class _Glance(_Shared):
    """A manager, looked at once."""

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager)
        self.lifecycle = _SharedLifecycle(manager.lifecycle)
        self.accounts = _Shared(manager.accounts, "users")


def glance(manager: Manager) -> Manager:
    """Give a manager as it is now, for one round of telling; not to be kept."""
    return cast("Manager", _Glance(manager))


def allotted(lifecycle: Lifecycle) -> Mapping[int, int]:
    """Say for whom in the line each free port is that somebody waits for."""
    line = lifecycle.line.all()
    if not line:
        return {}
    terms = lifecycle.reservations.terms()
    return scheduler.allot(lifecycle.instances(), line, lifecycle.unavailable, terms)


def given(lifecycle: Lifecycle) -> Mapping[int, int]:
    """Give the same, worked out once for all who share a look."""
    return lifecycle.given if isinstance(lifecycle, _SharedLifecycle) else allotted(lifecycle)
