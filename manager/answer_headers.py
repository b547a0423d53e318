"""The headers that each answer of the manager's own server carries, whoever makes it. Pure.

The application, Socket.IO beside it, what refuses before both, and the server itself where a
request cannot be understood: a browser is to treat all of them alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "object-src 'none'",
    )
)

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: under that policy browsers send "Origin: null" with a form's POST
    # (Fetch standard, "append a request Origin header"), and the login form must name its origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

LINES: Final = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()).encode("ascii")
"""The same, as they stand in an answer that is written by hand."""
