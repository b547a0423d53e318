"""What the pages ask of logins through an OpenID Connect provider; part of ``house``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from manager.records import User
from manager.sign_in_records import Identity, Tie


class SignIns(Protocol):
    """Whose account a person of the provider has."""

    def comes_in(self, who: Identity, address: str, /) -> tuple[User, str]:
        """Begin a session for somebody whom the provider has vouched for."""

    def tie_of(self, user: User, /) -> Tie:
        """Say how an account stands to the provider."""

    def ties(self) -> Mapping[int, Tie]:
        """Say it of every account, by id."""

    def has_password(self, user: User, /) -> bool:
        """Tell whether a password opens an account at all."""

    def allow(self, actor: User, user_ids: Collection[int], /, *, allowed: bool) -> None:
        """Let accounts be tied to the next person of their name, or take that back."""

    def untie(self, actor: User, user_ids: Collection[int], /) -> None:
        """Forget whom accounts are tied to."""


class WithSignIns(Protocol):
    """Accounts, as far as the provider goes."""

    @property
    def sign_ins(self) -> SignIns:
        """Who of the provider is whose account."""

    def sign_in_tried(self, address: str, /) -> None:
        """Count a return from the provider; TooManyAttempts beyond what is allowed."""
