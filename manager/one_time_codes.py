"""Codes of a phone (TOTP, RFC 6238) and recovery codes: made and compared. Keeps nothing.

Six digits, 30 seconds and SHA-1 are what every authenticator app knows; some ignore anything else
that an ``otpauth:`` address asks for. The secret is worked out of a random seed and a key, so that
who reads the seed alone knows no code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata
from typing import Final

import pyotp

DIGITS: Final = 6
STEP_S: Final = 30
WINDOW: Final = 1
"""Steps before and after now whose codes are taken too: phones' clocks, and slow fingers."""

SEED_BYTES = 32
SECRET_BYTES = 20
"""160 bits, as RFC 4226 (section 4, R6) recommends."""

RECOVERY_CODES: Final = 10
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUPS = (4, 4, 4)
"""12 of 31 letters that are not mistaken for each other: 59 random bits."""

CLOCK_STEPS = 2 * 3600 // STEP_S
"""How far from now a code is looked for to tell that a clock is wrong; takes some 10 ms."""

ISSUER = "ComfyUI Multi-User Manager"


def new_seed() -> str:
    """Make a seed."""
    return secrets.token_hex(SEED_BYTES)


def secret_of(key: bytes, seed: str) -> str:
    """Give the secret that belongs to a seed, in Base32."""
    made = hmac.digest(key, b"secret " + bytes.fromhex(seed), "sha256")
    return base64.b32encode(made[:SECRET_BYTES]).decode("ascii")


def mark_of(key: bytes) -> str:
    """Name a key without giving it away."""
    return hmac.digest(key, b"mark", "sha256").hex()[:16]


def uri_of(secret: str, username: str) -> str:
    """Give the address that an authenticator app reads from a QR picture."""
    totp = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_S, name=username, issuer=ISSUER)
    return totp.provisioning_uri()


def code_in(given: str) -> str | None:
    """Give the six digits that somebody typed, with spaces or in full width; None: it is no code.

    Apps show them in two groups, and Chinese keyboards type digits of their own.
    """
    code = "".join(unicodedata.normalize("NFKC", given).split())
    return code if len(code) == DIGITS and code.isascii() and code.isdigit() else None


def step_of(secret: str, code: str, now: float, after: int) -> int | None:
    """Give the time step of which ``code`` is the code, if it may be taken.

    Args:
        secret: in Base32.
        code: what ``code_in`` gave.
        now: UTC epoch seconds.
        after: the step that was taken last; neither it nor an earlier one is taken.
    """
    totp, this = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_S), int(now) // STEP_S
    steps = range(max(0, this - WINDOW), this + WINDOW + 1)
    # All are compared, so that the time does not tell which it was.
    found = [step for step in steps if hmac.compare_digest(totp.generate_otp(step), code)]
    return next((step for step in found if step > after), None)


def minutes_off(secret: str, code: str, now: float) -> int | None:
    """Say by how many minutes the clocks differ, if ``code`` is one of another time than now's.

    For setting up alone: it would tell who guesses at a login that a code comes true later.
    """
    totp, this = pyotp.TOTP(secret, digits=DIGITS, interval=STEP_S), int(now) // STEP_S
    for off in range(WINDOW + 1, CLOCK_STEPS + 1):
        for step in (this - off, this + off):
            if step >= 0 and totp.generate_otp(step) == code:
                return max(1, round(off * STEP_S / 60))
    return None


def new_recovery_codes() -> list[str]:
    """Make as many as an account has."""
    return [
        "-".join("".join(secrets.choice(_LETTERS) for _ in range(size)) for size in _GROUPS)
        for _ in range(RECOVERY_CODES)
    ]


def hash_of_recovery(key: bytes, user_id: int, given: str) -> str:
    """Give what is kept of a recovery code; capitals, spaces and hyphens make no difference."""
    plain = unicodedata.normalize("NFKC", given).casefold()
    letters = "".join(sign for sign in plain if sign.isalnum())
    told = f"recovery {user_id} {letters}".encode("utf-8", "replace")
    return hmac.new(key, told, hashlib.sha256).hexdigest()
