"""A phone with an authenticator app, for tests that log in with its codes."""

from __future__ import annotations

import time
import urllib.parse

import pyotp

from manager.one_time_codes import STEP_S, WINDOW
from tests.support.waiting import wait_until


class Phone:
    """Shows a code that was not used yet each time it is looked at.

    Two looks need no waiting: the code of now, which is taken for half a minute more at least, and
    the one after it.
    """

    def __init__(self, uri: str) -> None:
        """Read an ``otpauth:`` address, as from a QR picture."""
        read = pyotp.parse_uri(uri)
        assert isinstance(read, pyotp.TOTP)
        self.totp = read
        self.label = urllib.parse.unquote(urllib.parse.urlsplit(uri).path)
        self.last = 0

    def code(self) -> str:
        """Give the next code."""
        wait_until(
            lambda: self.last + 1 <= self._now() + WINDOW,
            timeout_s=3.0 * STEP_S,
            what="the phone shows another code",
        )
        self.last = max(self.last + 1, self._now())
        return str(self.totp.generate_otp(self.last))

    def wrong_code(self) -> str:
        """Give one that is not right now, nor soon."""
        right = {self.totp.generate_otp(self._now() + off) for off in range(-3, 6)}
        return next(code for code in map("{:06}".format, range(100)) if code not in right)

    def _now(self) -> int:
        return int(time.time()) // STEP_S
