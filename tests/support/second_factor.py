"""Second factors in memory, for the pages' tests: the code of every phone is ``CODE``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from manager.errors import BadInput, CodeRequired, Conflict, NotAuthenticated, NotFound
from manager.factor_records import Setup
from manager.records import User

if TYPE_CHECKING:
    from tests.support.web import Accounts

CODE = "123456"
RECOVERY = "aaaa-bbbb-cccc"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


class SecondFactors:
    """Second factors of ``Accounts``."""

    def __init__(self, accounts: Accounts, password: str) -> None:
        self.accounts = accounts
        self.password = password
        self.tickets: dict[str, int] = {}
        self.drafts: dict[str, int] = {}
        self.resets: list[tuple[str, int]] = []

    def ask(self, user: User) -> CodeRequired:
        ticket = f"ticket-{user.id}-{len(self.tickets)}"
        self.tickets[ticket] = user.id
        return CodeRequired("a code", ticket=ticket)

    def is_half_way(self, ticket: str) -> bool:
        return ticket in self.tickets

    def answer(self, ticket: str, given: str) -> User:
        if ticket not in self.tickets:
            raise NotAuthenticated("no", reason="code_late")
        if given != CODE:
            raise NotAuthenticated("no", reason="code")
        return self.accounts.all[self.tickets.pop(ticket)]

    def begin(self, user: User, password: str, session_id: str) -> None:
        if user.second_factor:
            raise Conflict("no", reason="second_factor_on")
        self._check(password)
        self.drafts[session_id] = user.id

    def setup(self, user: User, session_id: str) -> Setup | None:
        drafted = self.drafts.get(session_id) == user.id
        return Setup(SECRET, f"otpauth://totp/x?secret={SECRET}") if drafted else None

    def cancel(self, session_id: str) -> None:
        self.drafts.pop(session_id, None)

    def confirm(self, user: User, given: str, session_id: str) -> list[str]:
        if self.drafts.get(session_id) != user.id:
            raise NotFound("no", reason="second_factor_setup")
        if given != CODE:
            raise BadInput("no", reason="code")
        del self.drafts[session_id]
        self._set(user.id, on=True)
        return [RECOVERY] * 10

    def turn_off(self, user: User, password: str, given: str) -> None:
        self._check(password, given)
        self._set(user.id, on=False)

    def renew(self, user: User, password: str, given: str) -> list[str]:
        self._check(password, given)
        return [RECOVERY] * 10

    def status(self, user: User) -> tuple[float, int] | None:
        return (1_790_000_000.0, 10) if user.second_factor else None

    def reset(self, actor: User, user_id: int) -> User:
        if self.accounts.user(user_id).id == actor.id:
            raise Conflict("no", reason="yourself")
        if not self.accounts.all[user_id].second_factor:
            raise Conflict("no", reason="second_factor_none")
        self.resets.append((actor.username, user_id))
        return self._set(user_id, on=False)

    def _set(self, user_id: int, *, on: bool) -> User:
        self.accounts.all[user_id] = dataclasses.replace(
            self.accounts.user(user_id), second_factor=on
        )
        return self.accounts.all[user_id]

    def _check(self, password: str, given: str = CODE) -> None:
        if password != self.password:
            raise NotAuthenticated("no", reason="wrong_password")
        if given != CODE:
            raise NotAuthenticated("no", reason="code")
