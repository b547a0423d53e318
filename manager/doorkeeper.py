"""Name and password at the door: tries are counted, refusals logged in one form.

A wrong name and a wrong password cost the same time and get the same answer.
"""

from __future__ import annotations

import logging
from typing import Final

from manager import credentials
from manager.errors import TooManyAttempts
from manager.records import User
from manager.store import Store
from manager.throttle import Throttle

logger = logging.getLogger(__name__)

REFUSED: Final = "login refused from %s (%s)"
"""What ``deploy/fail2ban`` reads. No name: a visitor can type anything there, an address too."""


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
            logger.warning(REFUSED, address, "too often")
            raise
        if not right or user is None or not user.is_active:
            logger.warning(REFUSED, address, "wrong")
            return None
        self.throttle.succeeded(username, address)
        return user, stored

    def wrong_token(self, address: str) -> None:
        """Count a wrong API token from an address; they share its tries with passwords.

        Raises:
            TooManyAttempts: too many tries from this address.
        """
        try:
            self.throttle.attempt_from(address)
        except TooManyAttempts:
            logger.warning(REFUSED, address, "too often")
            raise
        logger.warning(REFUSED, address, "token")

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
