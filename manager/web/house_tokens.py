"""What the pages ask of API tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manager.records import User
from manager.token_records import ApiToken, Bearer


class ApiTokens(Protocol):
    """Tokens for scripts."""

    def choices(self) -> Sequence[int]:
        """Give for how many days tokens may be made; nothing where there are none."""

    def make(self, user: User, name: str, scope: str, days: int, /) -> tuple[ApiToken, str]:
        """Make one; the second value is the token itself."""

    def of_user(self, user: User, /) -> Sequence[ApiToken]:
        """List a user's."""

    def all(self) -> Sequence[ApiToken]:
        """List everybody's."""

    def ends_at(self, token: ApiToken, /) -> float:
        """Say until when one is good."""

    def revoke(self, actor: User, token_id: int, /) -> None:
        """End one at once."""

    def find(self, given: str, address: str, /) -> Bearer:
        """Say who sends one."""


class WithApiTokens(Protocol):
    """What has them."""

    @property
    def api_tokens(self) -> ApiTokens:
        """Tokens for scripts."""
