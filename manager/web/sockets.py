"""Socket.IO: lets pages of our own origin listen. Pages only listen; no event comes from them."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from flask import Flask, request, session
from flask_socketio import SocketIO
from socketio.exceptions import ConnectionRefusedError as Refusal  # type: ignore[import-untyped]

from manager import runtime
from manager.web.cookies import is_doubled
from manager.web.guard import SESSION_KEY, own_origin
from manager.web.house import Manager
from manager.web.live import Live
from manager.web.services import EXTENSION
from manager.web.views import Address

NOT_AUTHENTICATED = "not_authenticated"
"""What a page is told that has no good session."""

TOO_MANY_PAGES = "too_many_pages"
"""What a page is told whose login has ``MAX_PAGES`` open already."""

MAX_PAGES = 32
"""Live connections of one login. A person has a few; each costs an own view of the house."""

MAX_MESSAGE_BYTES = 4096
"""What a page may send: nothing but the protocol's own packets."""


def create_socketio(app: Flask, manager: Manager) -> SocketIO:
    """Join Socket.IO to the application and the live connections to Socket.IO."""
    live: Live = app.extensions[EXTENSION].live

    def of_our_origin(origin: str | None, environ: dict[str, Any]) -> bool:
        return origin is not None and origin == own_origin(manager.settings, environ)

    socketio = SocketIO(
        app,
        async_mode=runtime.mode(),  # type: ignore[arg-type]
        cors_allowed_origins=of_our_origin,  # type: ignore[arg-type]
        manage_session=False,
        max_http_buffer_size=MAX_MESSAGE_BYTES,
        logger=_library_log(),
        engineio_logger=_library_log(),
    )
    _limit_messages(socketio)

    @socketio.on("connect")
    def on_connect(_auth: object = None) -> None:
        if is_doubled(request.environ, app.config["SESSION_COOKIE_NAME"]):
            raise Refusal(NOT_AUTHENTICATED)
        address = Address.of(request.environ)
        connection_id = str(request.sid)  # type: ignore[attr-defined]
        others = (one for one in live.connections() if one.id != connection_id)
        if sum(one.session_id == session.get(SESSION_KEY) for one in others) >= MAX_PAGES:
            raise Refusal(TOO_MANY_PAGES)
        if live.admit(connection_id, str(session.get(SESSION_KEY, "")), address) is None:
            raise Refusal(NOT_AUTHENTICATED)

    @socketio.on("disconnect")
    def on_disconnect(_reason: object = None) -> None:
        live.leave(str(request.sid))  # type: ignore[attr-defined]

    live.attach(
        send=lambda event, data, to: socketio.emit(event, data, to=to),
        close=socketio.server.disconnect,  # type: ignore[attr-defined]
    )
    manager.on_change(live.changed)
    return socketio


def _limit_messages(socketio: SocketIO) -> None:
    """Have no message be kept that is too long, in however many frames it comes.

    Engine.IO looks at its length when all of it is there; eventlet's own websockets are limited by
    ``green_http``.
    """
    if runtime.mode() == "threading":
        engine: Any = socketio.server.eio  # type: ignore[attr-defined]
        kind = partial(engine._async["websocket"], max_message_size=MAX_MESSAGE_BYTES)
        engine._async = {**engine._async, "websocket": kind}


def _library_log() -> logging.Logger:
    """Give the libraries our log from warnings up: at INFO they write packets, tokens and all.

    Without a logger of ours they would write to the standard error stream.
    """
    library = logging.getLogger("socketio")
    library.setLevel(logging.WARNING)
    return library
