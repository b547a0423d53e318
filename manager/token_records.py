"""API tokens as they leave the store, and what each scope allows. Pure.

``*_at`` are UTC epoch seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.records import User

SCOPES = ("read", "use", "admin")
"""From the least to the most; each allows what those before it allow."""


@dataclass(frozen=True)
class ApiToken:
    """A token as its owner and admins see it. ``prefix`` is its beginning, which opens nothing.

    ``used_at`` is its last use, to some minutes, from the address ``used_from``; None before the
    first.
    """

    id: int
    user_id: int
    username: str
    prefix: str
    name: str
    scope: str
    created_at: float
    expires_at: float
    used_at: float | None
    used_from: str


@dataclass(frozen=True)
class Bearer:
    """Who sent a request with a token."""

    user: User
    token: ApiToken

    def may(self, needed: str) -> bool:
        """Tell whether the token's scope covers another."""
        return SCOPES.index(self.token.scope) >= SCOPES.index(needed)
