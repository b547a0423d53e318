"""The headers on what the application does not answer itself: Socket.IO, and refusals before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from manager.answer_headers import HEADERS

Environ = dict[str, Any]
App = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class Headed:
    """Stands before all else; adds what an answer has not said by itself."""

    def __init__(self, app: App) -> None:
        """Keep it."""
        self._app = app

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""

        def start(status: str, headers: list[tuple[str, str]], *more: object) -> object:
            there = {name.lower() for name, _value in headers}
            missing = [pair for pair in HEADERS.items() if pair[0].lower() not in there]
            # Whatever is said of how long to keep it stays; what says nothing is kept nowhere.
            if "cache-control" not in there:
                missing.append(("Cache-Control", "no-store"))
            return start_response(status, [*headers, *missing], *more)

        return self._app(environ, start)
