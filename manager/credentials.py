"""Names and passwords: which are allowed, how they are hashed and compared. Keeps nothing."""

from __future__ import annotations

import functools
import re
import secrets
import unicodedata
from typing import Final

from werkzeug.security import check_password_hash, generate_password_hash

from manager import runtime
from manager.errors import BadInput

FIRST_ADMIN: Final = ("admin", "admin123")
PASSWORD_LENGTH = (8, 256)
"""Characters: below is guessed, above is an attack on the hash's time."""

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


def check_password(username: str, password: str) -> None:
    """Refuse a password that is too short, too long, the name itself, or printed in the README.

    Raises:
        BadInput: says which.
    """
    low, high = PASSWORD_LENGTH
    if not low <= len(password) <= high:
        raise BadInput(
            f"a password has {low} to {high} characters", reason="password", low=low, high=high
        )
    if password.lower() == username.lower() or password == FIRST_ADMIN[1]:
        raise BadInput("this password is too easy to guess", reason="easy_password")


def hash_password(password: str) -> str:
    """Hash with scrypt, off the green loop and at most two at a time."""
    return runtime.offload_heavy(generate_password_hash, password)


def matches(stored: str, password: str) -> bool:
    """Tell whether a password fits a stored hash; an empty hash costs the same and fits none."""
    if len(password) > PASSWORD_LENGTH[1]:
        return False
    try:
        right = runtime.offload_heavy(_fits, stored, password)
    except ValueError:
        # A hash of a kind Werkzeug does not know, written by hand.
        return False
    return right and bool(stored)


def _fits(stored: str, password: str) -> bool:
    return check_password_hash(stored or _no_password(), password)
