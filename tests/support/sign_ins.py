"""Logins through a provider in memory; for the pages' tests."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from manager.errors import NotAuthenticated, NotFound, TooManyAttempts
from manager.records import User
from manager.sign_in_records import Identity, Tie

if TYPE_CHECKING:
    from tests.support.web import Accounts

AT = 1_790_000_000.0


class SignIns:
    """Ties of ``Accounts``, by the accounts' ids; who is in ``passwordless`` has no password."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.subjects: dict[int, str] = {}
        self.open: set[int] = set()
        self.passwordless: set[int] = set()
        self.tries: list[str] = []
        self.throttled = False

    def tried(self, address: str) -> None:
        self.tries.append(address)
        if self.throttled:
            raise TooManyAttempts("slow down", retry_after=17)

    def comes_in(self, who: Identity, address: str) -> tuple[User, str]:
        owner = next((id_ for id_, one in self.subjects.items() if one == who.subject), None)
        if owner is None:
            raise NotAuthenticated("no", reason="sign_in_not_tied")
        sid = f"sid-{owner}-{len(self.accounts.sessions)}"
        self.accounts.sessions[sid] = owner
        return self.accounts.user(owner), sid

    def tie_of(self, user: User) -> Tie:
        return self.ties()[user.id]

    def ties(self) -> dict[int, Tie]:
        return {
            one: Tie(
                one,
                self.subjects.get(one),
                AT if one in self.subjects else None,
                AT if one in self.open else None,
            )
            for one in self.accounts.all
        }

    def has_password(self, user: User) -> bool:
        return user.id not in self.passwordless

    def allow(self, actor: User, user_ids: Collection[int], *, allowed: bool) -> None:
        if not set(user_ids) <= set(self.accounts.all):
            raise NotFound("no", reason="user")
        self.open = self.open | set(user_ids) if allowed else self.open - set(user_ids)

    def untie(self, actor: User, user_ids: Collection[int]) -> None:
        for one in user_ids:
            self.subjects.pop(one, None)
