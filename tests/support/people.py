"""Acts on many accounts, in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from manager.errors import Conflict, NotFound
from manager.people import Added, Newcomer
from manager.records import User

MADE = "made-once"


class Accounts(Protocol):
    """Where the accounts are."""

    all: dict[int, User]

    def add(self, user_id: int, username: str, **changes: object) -> User: ...

    def end_sessions(self, user_id: int) -> None: ...


class People:
    """All accounts at once."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.logins: dict[int, float] = {}

    def create(self, actor: User, newcomers: Sequence[Newcomer]) -> list[Added]:
        added = []
        for one in newcomers:
            user = self.accounts.add(
                max(self.accounts.all) + 1,
                one.username,
                is_admin=one.is_admin,
                assigned_port=one.assigned_port,
                is_active=one.is_active,
                must_change_password=True,
            )
            added.append(Added(user, None if one.password else MADE))
        return added

    def set_active(self, actor: User, user_ids: Collection[int], *, active: bool) -> list[User]:
        everybody = self.accounts.all
        if not set(user_ids) <= everybody.keys():
            raise NotFound("no", reason="user")
        if actor.id in user_ids and not active:
            raise Conflict("yourself", reason="yourself")
        changed = [everybody[one] for one in user_ids if everybody[one].is_active != active]
        for user in changed:
            everybody[user.id] = dataclasses.replace(user, is_active=active)
            if not active:
                self.accounts.end_sessions(user.id)
        return [everybody[user.id] for user in changed]

    def last_logins(self) -> Mapping[int, float]:
        return self.logins
