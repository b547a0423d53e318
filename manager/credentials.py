"""Names and passwords: which are allowed, how they are hashed and compared. Keeps nothing."""

from __future__ import annotations

import functools
import re
import secrets
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from werkzeug.security import check_password_hash, generate_password_hash

from manager import easy_passwords, runtime
from manager.errors import BadInput, TooManyAttempts

FIRST_ADMIN: Final = ("admin", "admin123")
PASSWORD_LENGTH = (8, 256)
"""Characters: below is guessed, above is an attack on the hash's time."""

STRANGERS_MAX = 64
"""Logins from unknown addresses that may wait: a class that comes in at once, 5 s of hashes."""

FULL_WAIT_S = 5

LETTERS = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
MADE_LENGTH = 14
MADE_METHOD = "pbkdf2:sha256:1000"
"""Of passwords that were made here: hundreds of accounts are made at once."""

_USERNAME = re.compile(r"[^\W_][\w.@-]{0,63}\Z")


@functools.cache
def _no_password() -> str:
    """Give what is checked when the name is unknown, so that the time does not tell."""
    return generate_password_hash(secrets.token_hex())


def check_username(username: str) -> str:
    """Give the name in one Unicode form.

    Raises:
        BadInput: it is not 1-64 letters, digits, ``.``, ``_``, ``@``, ``-``, a letter or digit
            first.
    """
    username = unicodedata.normalize("NFC", username.strip())
    if not _USERNAME.match(username):
        raise BadInput(
            "a name has 1 to 64 letters, digits, dots, hyphens, underscores or @, "
            "and begins with a letter or digit",
            reason="username",
        )
    return username


def check_password(username: str, password: str, server: str = "") -> None:
    """Refuse a password that is too short, too long, or one of those that are tried first.

    Every new password comes by here, whoever sets it. ``server`` is the name by which visitors
    reach this house. Takes less than a millisecond.

    Raises:
        BadInput: says which.
    """
    low, high = PASSWORD_LENGTH
    if not low <= len(password) <= high:
        raise BadInput(
            f"a password has {low} to {high} characters", reason="password", low=low, high=high
        )
    if password.lower() == username.lower() or easy_passwords.is_easy(
        password, easy_passwords.house_words(username, server)
    ):
        raise BadInput(
            "this password is one of those that are tried first: a common one, a name or a word "
            "of this house, also with digits or signs beside it; take several words that have "
            "nothing to do with each other, or have a password manager make one",
            reason="easy_password",
        )


def new_password() -> str:
    """Make a password that is shown once and changed at the next login; 81 random bits.

    Letters and digits that are not mistaken for each other: it is often read aloud. No sign in it
    is one that spreadsheet programs act upon.
    """
    made = "".join(secrets.choice(LETTERS) for _ in range(MADE_LENGTH))
    return new_password() if easy_passwords.is_easy(made, ()) else made


def hash_made(password: str) -> str:
    """Hash what ``new_password`` made: too long to be guessed, so a fast hash is enough."""
    return generate_password_hash(password, method=MADE_METHOD)


def hash_password(password: str) -> str:
    """Hash with scrypt, off the green loop and at most two at a time."""
    return runtime.offload_heavy(generate_password_hash, password)


def matches(stored: str, password: str, *, known: bool = False) -> bool:
    """Tell whether a password fits a stored hash; an empty hash costs the same and fits none.

    Strangers stand in one line before the two places where hashes are computed, so that whoever is
    ``known`` waits for one hash and not for all of theirs.

    Raises:
        TooManyAttempts: too many strangers wait.
    """
    if known:
        return _matches(stored, password)
    with _strangers().place():
        return _matches(stored, password)


def _matches(stored: str, password: str) -> bool:
    if len(password) > PASSWORD_LENGTH[1]:
        return False
    try:
        right = runtime.offload_heavy(_fits, stored, password)
    except ValueError:
        # A hash of a kind Werkzeug does not know, written by hand.
        return False
    return right and bool(stored)


class Strangers:
    """The line of those who are not known; as many of them at work as there are places."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._at_work = threading.BoundedSemaphore(runtime.HEAVY_AT_ONCE)
        self._count = 0
        self._lock = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[None]:
        """Stand in line and be at work during the block.

        Raises:
            TooManyAttempts: the line is full; with the seconds it takes to shrink.
        """
        with self._lock:
            if self._count >= STRANGERS_MAX:
                raise TooManyAttempts(
                    f"too many logins at once; try again in {FULL_WAIT_S} s",
                    retry_after=FULL_WAIT_S,
                )
            self._count += 1
        try:
            with self._at_work:
                yield
        finally:
            with self._lock:
                self._count -= 1


@functools.cache
def _strangers() -> Strangers:
    return Strangers()


def _fits(stored: str, password: str) -> bool:
    if stored.startswith(MADE_METHOD):
        # The time must not tell whose first password is still in force.
        check_password_hash(_no_password(), password)
    return check_password_hash(stored or _no_password(), password)
