"""What the pages ask about a person's own logins; part of ``house``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from manager.records import OwnSession, User


class OwnSessions(Protocol):
    """A person's logins."""

    def seen(self, session_id: str, user_agent: str, /) -> None:
        """Note that a login is in use."""

    def owners(self, session_ids: Collection[str], /) -> Mapping[str, User]:
        """Give whose logins these are; one that has ended is missing."""

    def list(self, user: User, session_id: str, /) -> Sequence[OwnSession]:
        """List the logins in force, this one first."""

    def renew(self, session_id: str, /) -> str:
        """Give a login another id, and say which."""

    def end(self, user: User, handle: str, /) -> None:
        """End one of them."""

    def end_others(self, user: User, session_id: str, /) -> None:
        """End all but this one."""

    def end_all(self, actor: User, user_id: int, /) -> User:
        """End all of somebody's."""


class WithOwnSessions(Protocol):
    """Accounts, as far as logins go."""

    @property
    def own(self) -> OwnSessions:
        """Each person's own logins."""
