"""What the pages ask of limits and reservations, as protocols; other rooms stand in ``house``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from manager.allowance import Allowance, Blocked, TimeLeft
from manager.permits import Reservation, UserLimits
from manager.records import Instance, User
from manager.terms import Terms


class Limits(Protocol):
    """What users are allowed."""

    def all(self) -> Mapping[int, UserLimits]:
        """Give what is set for single users, by user."""

    def of_user(self, user_id: int, /) -> Allowance:
        """Give what is in force for a user."""

    def put(self, *limits: UserLimits, by: User) -> None:
        """Set the limits of one user or of several."""

    def blocked(self, user_id: int, /) -> Blocked | None:
        """Say why somebody may not start, if so."""

    def used_today(self, user_id: int, /) -> float:
        """Say how many seconds a user's ended sessions held cards today."""

    def time(self, row: Instance, /) -> TimeLeft | None:
        """Say how long an instance may still go on; None without a limit."""


class Reservations(Protocol):
    """Ports kept for some users, or out of use."""

    def all(self) -> Sequence[Reservation]:
        """List them by port."""

    def terms(self) -> Terms:
        """Give what the scheduler has to know beside what is free."""

    def reserve(
        self,
        port: int,
        user_ids: Collection[int],
        until: float | None,
        reason: str,
        /,
        *,
        by: User,
    ) -> None:
        """Keep a port for some users, or for nobody."""

    def put_back(self, port: int, /, *, by: User) -> None:
        """Give a port back to everybody."""


class Rules(Protocol):
    """The part of ``Lifecycle`` that says who may have what."""

    @property
    def limits(self) -> Limits:
        """What users are allowed."""

    @property
    def reservations(self) -> Reservations:
        """What is kept for whom."""
