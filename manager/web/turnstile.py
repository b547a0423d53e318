"""How many requests of one address are under way at once.

An open page's live connection is one of them, for as long as it lasts. Behind Caddy this is all
that limits an address; without it the server has counted its connections before. A live connection
by polling holds none between two questions, so those are counted as Socket.IO knows them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from flask_socketio import SocketIO
from werkzeug.wsgi import ClosingIterator

from manager.crowd import Crowd, subscriber
from manager.green_http import TOO_MANY
from manager.web import i18n

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

LIVE_PATH = "/socket.io/"


class Turnstile:
    """Lets an address have ``limit`` requests at once; 0: any number."""

    def __init__(self, app: App, limit: int, socketio: SocketIO) -> None:
        """Keep all three."""
        self._app = app
        self._crowd = Crowd(limit, "requests under way")
        self._live: dict[str, Environ] = socketio.server.environ  # type: ignore[attr-defined]

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        address = str(environ.get("REMOTE_ADDR", ""))
        if self._too_many_live(environ, address) or not self._crowd.enter(address):
            return _refuse(environ, start_response)
        gone = _Once(lambda: self._crowd.leave(address))
        try:
            answer = self._app(environ, start_response)
        except BaseException:
            gone()
            raise
        return ClosingIterator(answer, gone)

    def _too_many_live(self, environ: Environ, address: str) -> bool:
        limit, path = self._crowd.limit, str(environ.get("PATH_INFO"))
        # PEP 3333: it may be missing where there is none.
        query = str(environ.get("QUERY_STRING", ""))
        if not limit or not path.startswith(LIVE_PATH) or "sid=" in query:
            return False
        who = subscriber(address)
        known = [subscriber(str(one.get("REMOTE_ADDR"))) for one in list(self._live.values())]
        return known.count(who) >= limit


class _Once:
    """Does something at the first call, and nothing at any other."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work: Callable[[], None] | None = work

    def __call__(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work()


def _refuse(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    kind, body = "text/plain; charset=utf-8", TOO_MANY
    if str(environ.get("PATH_INFO")).startswith("/api/"):
        code = "too_many_connections"
        # Before anybody's language is known, as one who is refused costs nothing.
        told = {"code": code, "key": code, "message": i18n.catalogue("en")[f"error.{code}"]}
        kind, body = "application/json", json.dumps({"error": told}).encode()
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("Retry-After", "10")]
    start_response("503 Service Unavailable", headers)
    return [body]
