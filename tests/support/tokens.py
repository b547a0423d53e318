"""API tokens in memory, by the tokens themselves; for the pages' tests."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from manager.errors import BadInput, Conflict, NotAuthenticated, NotFound, TooManyAttempts
from manager.records import User
from manager.token_records import ApiToken, Bearer

if TYPE_CHECKING:
    from tests.support.web import Accounts

EVER = 4_000_000_000.0
OVER = 1_000_000_000.0


class ApiTokens:
    """Tokens of ``Accounts``."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.rows: dict[str, ApiToken] = {}
        self.days: tuple[int, ...] = (7, 30, 90, 365)
        self.throttled = False
        self.asked_from: list[str] = []

    def choices(self) -> tuple[int, ...]:
        return self.days

    def add(self, owner: User, scope: str, *, expires_at: float = EVER) -> str:
        """Make one and give it."""
        number = len(self.rows) + 1
        token = f"cmm_{number:043}"
        self.rows[token] = ApiToken(
            number, owner.id, owner.username, token[:10], "", scope, OVER, expires_at, None, ""
        )
        return token

    def make(self, owner: User, name: str, scope: str, days: int) -> tuple[ApiToken, str]:
        if not name.strip():
            raise BadInput("no", reason="token_name", field="name", most=64)
        if len(self.rows) >= 20:
            raise Conflict("no", reason="tokens_most", most=20)
        token = self.add(owner, scope)
        self.rows[token] = dataclasses.replace(self.rows[token], name=name)
        return self.rows[token], token

    def of_user(self, owner: User) -> list[ApiToken]:
        return [one for one in self.all() if one.user_id == owner.id]

    def all(self) -> list[ApiToken]:
        return list(self.rows.values())[::-1]

    def ends_at(self, token: ApiToken) -> float:
        return token.expires_at

    def revoke(self, actor: User, token_id: int) -> None:
        kept = {
            token: one
            for token, one in self.rows.items()
            if one.id != token_id or (one.user_id != actor.id and not actor.is_admin)
        }
        if len(kept) == len(self.rows):
            raise NotFound("no", reason="token")
        self.rows = kept

    def find(self, given: str, address: str) -> Bearer:
        self.asked_from.append(address)
        if self.throttled:
            raise TooManyAttempts("slow down", retry_after=17)
        row = self.rows.get(given)
        owner = self.accounts.all.get(row.user_id) if row else None
        if row is None or owner is None or not owner.is_active or row.expires_at == OVER:
            raise NotAuthenticated("no", reason="token")
        return Bearer(owner, row)
