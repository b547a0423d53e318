"""What the pages ask of second factors; part of ``house``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manager.factor_records import Setup
from manager.records import User


class SecondFactors(Protocol):
    """Codes of a phone beside the password."""

    def is_half_way(self, ticket: str, /) -> bool:
        """Tell whether a ticket still takes a code."""

    def begin(self, user: User, password: str, session_id: str, /) -> None:
        """Make a secret for a login to set up."""

    def setup(self, user: User, session_id: str, /) -> Setup | None:
        """Give what a login has begun to set up."""

    def cancel(self, session_id: str, /) -> None:
        """Forget it."""

    def confirm(self, user: User, given: str, session_id: str, /) -> Sequence[str]:
        """Put it into force; give the recovery codes."""

    def turn_off(self, user: User, password: str, given: str, /) -> None:
        """Take it off."""

    def renew(self, user: User, password: str, given: str, /) -> Sequence[str]:
        """Give new recovery codes."""

    def status(self, user: User, /) -> tuple[float, int] | None:
        """Say since when a user has one, and how many recovery codes are left."""

    def reset(self, actor: User, user_id: int, /) -> User:
        """Take somebody's off."""


class WithSecondFactor(Protocol):
    """Accounts, as far as second factors go."""

    @property
    def second_factor(self) -> SecondFactors:
        """Whose login asks for a code, too."""

    def login_by_code(self, ticket: str, code: str, address: str, /) -> tuple[User, str]:
        """Check a code and begin a session."""
