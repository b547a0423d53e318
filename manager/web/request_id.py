"""A number for each request: in every log line written while it is answered, and in its answer.

One that a proxy in front has given is kept. Caddy gives one of its own to each request that it
hands to a ComfyUI.
"""

from __future__ import annotations

import logging
import re
import secrets

from flask import Flask, Response, g, has_request_context, request

HEADER = "X-Request-Id"
_GIVEN = re.compile(r"[A-Za-z0-9-]{8,64}")


def init_app(app: Flask) -> None:
    """Number every request."""

    @app.before_request
    def number() -> None:
        given = request.headers.get(HEADER, "")
        g.request_id = given if _GIVEN.fullmatch(given) else secrets.token_hex(8)

    @app.after_request
    def tell(response: Response) -> Response:
        response.headers[HEADER] = g.get("request_id", "")
        return response


class RequestIds(logging.Filter):
    """Gives each record the number of the request under way, if one is."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        record.request_id = g.get("request_id", "") if has_request_context() else ""
        return True
