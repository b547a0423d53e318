"""The page behind Caddy: who may ask there, and from where the visitor comes.

Only Caddy knows the secret, so nobody else can name a visitor's address, by which wrong passwords
are counted and logins are noted. Caddy names one, that of whoever connected to it; what the
visitor himself wrote into that header it does not hand on.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from manager.networks import is_address
from manager.records import GUARD_HEADER

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP")
"""Where proxies of others name a visitor's address; RFC 7239's ``Forwarded`` is read besides."""

_FORWARDED_FOR = re.compile(r'for="?\[?([0-9A-Fa-f.:]+|[^;,\s"]+)', re.IGNORECASE)

_SECRET = f"HTTP_{GUARD_HEADER.upper().replace('-', '_')}"
_ADDRESS = "HTTP_X_FORWARDED_FOR"


def named_addresses(environ: Mapping[str, Any]) -> list[str]:
    """List what a request says of whom it was sent on for, by a proxy that is not ours.

    Anybody can write it, so it may take rights away and never give any.
    """
    listed = [part for name in FORWARDED for part in str(environ.get(name, "")).split(",")]
    named = _FORWARDED_FOR.findall(str(environ.get("HTTP_FORWARDED", "")))
    return [one.strip() for one in (*listed, *named) if one.strip()]


class BehindCaddy:
    """Lets Caddy's requests pass, with the visitor's address and scheme as he has them."""

    def __init__(self, app: App, secret: str) -> None:
        """Keep both."""
        self._app = app
        self._secret = secret.encode()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        shown = str(environ.pop(_SECRET, "")).encode("utf-8", "replace")
        address = str(environ.pop(_ADDRESS, ""))
        # A list of several addresses was not made by our Caddy.
        if not hmac.compare_digest(shown, self._secret) or not is_address(address):
            start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"Only the manager's own Caddy may ask here."]
        environ["REMOTE_ADDR"] = address
        environ["wsgi.url_scheme"] = "https"
        return self._app(environ, start_response)
