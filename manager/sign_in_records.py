"""The records of logins through an OpenID Connect provider."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """Whom the provider has vouched for: ``subject`` is his for good, ``username`` may change.

    ``is_admin`` says whether he is in the group of admins; None where no group makes any.
    """

    issuer: str
    subject: str
    username: str
    is_admin: bool | None = None


@dataclass(frozen=True)
class Begun:
    """A login on its way through the provider: what was sent along and has to come back."""

    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True)
class Tie:
    """How an account stands to the provider; times in UTC epoch seconds, None: it does not."""

    user_id: int
    subject: str | None
    linked_at: float | None
    allowed_at: float | None
