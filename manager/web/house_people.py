"""What the pages ask of all accounts at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from manager.people import Added, Newcomer
from manager.records import User


class People(Protocol):
    """Acts on many accounts, each all or nothing."""

    def create(self, actor: User, newcomers: Sequence[Newcomer], /) -> Sequence[Added]:
        """Add accounts; passwords that are missing are made."""

    def set_active(
        self, actor: User, user_ids: Collection[int], /, *, active: bool
    ) -> Sequence[User]:
        """Disable or enable accounts and give those that were changed."""

    def last_logins(self) -> Mapping[int, float]:
        """Say when each account's user logged in last, by id."""


class WithPeople(Protocol):
    """What keeps accounts."""

    @property
    def people(self) -> People:
        """All accounts at once."""
