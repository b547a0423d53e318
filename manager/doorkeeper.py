"""Name, password and code at the door: tries are counted, refusals logged in one form.

A wrong name and a wrong password cost the same time and get the same answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from manager import credentials
from manager.errors import NotAuthenticated, TooManyAttempts
from manager.records import User
from manager.store import Store
from manager.throttle import Throttle

logger = logging.getLogger(__name__)

REFUSED: Final = "login refused from %s (%s)"
"""What ``deploy/fail2ban`` reads. No name: a visitor can type anything there, an address too."""

MISTAKEN: Final = "user %d is logged in and has given a wrong %s"
"""Nothing for fail2ban: whoever it is has come in before."""


class Doorkeeper:
    """Checks who comes in."""

    def __init__(self, store: Store) -> None:
        """Begin with no try counted."""
        self._store = store
        self.throttle = Throttle()

    def check(self, username: str, password: str, address: str) -> tuple[User, str] | None:
        """Give the account and its hash if all is right; None, at the same cost, if not.

        Raises:
            TooManyAttempts: too many tries of this name or from this address, or at all.
        """
        known = self._store.read(lambda t: t.audit.logged_in_from(username, address))
        try:
            self.throttle.attempt(username, address, known=known)
            user = self._store.read(lambda t: t.users.by_name(username))
            stored = self._store.read(lambda t: t.users.password_hash(user.id)) if user else ""
            right = credentials.matches(stored, password, known=known)
        except TooManyAttempts:
            self._log(address, "too often")
            raise
        if not right or user is None or not user.is_active:
            self._log(address, "wrong")
            return None
        if not user.second_factor:
            # Else his tries are forgotten with the right code: who knows the password alone
            # would have as many tries of codes as he likes.
            self.throttle.succeeded(username, address)
        return user, stored

    def confirm(self, user: User, password: str) -> None:
        """Ask somebody who is logged in for his password once more.

        Raises:
            NotAuthenticated: it is wrong.
            TooManyAttempts: too many wrong ones.
        """
        self.throttle.attempt(user.username, _own_place(user))
        stored = self._store.read(lambda t: t.users.password_hash(user.id))
        if not credentials.matches(stored, password):
            logger.warning(MISTAKEN, user.id, "password")
            raise NotAuthenticated("the current password is wrong", reason="wrong_password")
        self.throttle.succeeded(user.username, _own_place(user))

    def code_attempt(self, username: str, address: str, *, digits: bool) -> None:
        """Count a try of a code, before it is looked at; ``digits``: of a phone's, so guessable.

        Raises:
            TooManyAttempts: too many tries of this name or from this address.
        """
        known = self._store.read(lambda t: t.audit.logged_in_from(username, address))
        try:
            self._count_code(username, address, digits=digits, known=known)
        except TooManyAttempts:
            self._log(address, "too often")
            raise

    def code_wrong(self, address: str) -> None:
        """Say in the log that a code was wrong."""
        self._log(address, "code")

    def code_right(self, username: str, address: str) -> None:
        """Forget the wrong tries of who then knew all."""
        self.throttle.succeeded(username, address)
        self.throttle.code_succeeded(username, address)

    def confirm_code(self, user: User, is_right: Callable[[], bool], *, digits: bool) -> None:
        """Ask somebody who is logged in for a code; see ``code_attempt``.

        Raises:
            NotAuthenticated: it is wrong.
            TooManyAttempts: too many wrong ones.
        """
        place = _own_place(user)
        self._count_code(user.username, place, digits=digits, known=True)
        if not is_right():
            logger.warning(MISTAKEN, user.id, "code")
            raise NotAuthenticated("this code is not right", reason="code")
        self.code_right(user.username, place)

    def _count_code(self, username: str, place: str, *, digits: bool, known: bool) -> None:
        self.throttle.attempt(username, place, known=known)
        if digits:
            self.throttle.attempt_code(username, place, known=known)

    def _log(self, address: str, why: str) -> None:
        logger.warning(REFUSED, address, why)

    def wrong_token(self, address: str) -> None:
        """Count a wrong API token from an address; they share its tries with passwords.

        Raises:
            TooManyAttempts: too many tries from this address.
        """
        try:
            self.throttle.attempt_from(address)
        except TooManyAttempts:
            self._log(address, "too often")
            raise
        self._log(address, "token")

    def sign_in_tried(self, address: str) -> None:
        """Count a return from the sign-in service; they share the address's tries with passwords.

        Raises:
            TooManyAttempts: too many tries from this address.
        """
        try:
            self.throttle.attempt_from(address)
        except TooManyAttempts:
            logger.warning(REFUSED, address, "too often")
            raise

    def forget(self) -> None:
        """Begin to count tries anew."""
        self.throttle = Throttle()


def _own_place(user: User) -> str:
    """Give what stands in the count for the address of who is logged in already.

    Each has an own one: what somebody tries keeps nobody else from the own password.
    """
    return f"own pages of {user.id}"
