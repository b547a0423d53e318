"""Serving: the listening socket, the server in the mode in force, and the loop that tells pages."""

from __future__ import annotations

import logging
import resource
import socket
import threading
import time
from typing import Protocol

from flask import Flask

from manager import runtime
from manager.crowd import Crowd
from manager.errors import SettingsError
from manager.gate import page
from manager.settings import Settings
from manager.web.app import create_app
from manager.web.behind import BehindCaddy
from manager.web.headed import Headed
from manager.web.house import Manager
from manager.web.live import Live
from manager.web.services import EXTENSION
from manager.web.sockets import create_socketio
from manager.web.threaded import MOST_THREADS, ThreadedHttpServer
from manager.web.turnstile import Turnstile

logger = logging.getLogger(__name__)

BACKLOG = 128
MAX_CONNECTIONS = 4096
"""At once; an open page holds one. eventlet's own default of 1024 is reached by 1024 pages."""

KEPT_FILES, FEWEST = 256, 64
"""Descriptors that are left for everything else, and how many connections there are at least."""

TELL_GAP_S = 60.0

END_S = 5.0
"""Time that requests under way have to finish when the manager ends."""

WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound


class HttpServer(Protocol):
    """A server at work."""

    def stop(self, limit_s: float) -> None:
        """Take no more requests, finish those under way."""


class Server:
    """The manager's pages, being served."""

    def __init__(self, url: str, http: HttpServer, live: Live, telling: threading.Thread) -> None:
        """Keep the parts; they are at work already."""
        self.url = url
        self._http = http
        self._live = live
        self._telling = telling

    def stop(self) -> None:
        """Close open pages' connections, finish requests under way, and end."""
        self._live.end()
        self._telling.join(END_S)
        self._http.stop(END_S)


def serve(manager: Manager) -> Server:
    """Begin to serve and return.

    Raises:
        SettingsError: the address cannot be listened on; nothing has been started.
    """
    settings = manager.settings
    behind_caddy = settings.tls != "off"
    listener = page.listen(settings) if behind_caddy else listen(settings)
    app = create_app(manager)
    socketio = create_socketio(app, manager)
    limit = settings.connections_per_address
    app.wsgi_app = Turnstile(app.wsgi_app, limit, socketio)  # type: ignore[method-assign]
    if behind_caddy:
        app.wsgi_app = BehindCaddy(app.wsgi_app, page.secret(settings))  # type: ignore[method-assign]
    app.wsgi_app = Headed(app.wsgi_app)  # type: ignore[method-assign]
    live: Live = app.extensions[EXTENSION].live
    telling = threading.Thread(target=live.run, name="telling", daemon=True)
    telling.start()
    # Before the server takes the listener over, and may close it.
    url = _url(settings, settings.manager_port if behind_caddy else listener.getsockname()[1])
    # Who comes by the socket file is Caddy, for everybody.
    crowd = Crowd(0 if behind_caddy else limit, "connections")
    return Server(url, _begin(listener, app, crowd), live, telling)


def listen(settings: Settings) -> socket.socket:
    """Open the listening socket.

    Raises:
        SettingsError: says why it cannot be had and what to change.
    """
    host, port = settings.manager_host, settings.manager_port
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> SettingsError:
    return SettingsError(
        f"MANAGER_PORT = {port} on MANAGER_HOST = {host} cannot be listened on: "
        f"{error.strerror or error}; end the program that uses it, or set another port"
    )


def _url(settings: Settings, port: int) -> str:
    scheme = "http" if settings.tls == "off" else "https"
    host = "localhost" if settings.manager_host in WILDCARDS else settings.manager_host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _begin(listener: socket.socket, app: Flask, crowd: Crowd) -> HttpServer:
    green = runtime.mode() == "eventlet"
    most = max_connections() if green else min(max_connections(), MOST_THREADS)
    # With fewer descriptors than usual, one address must not have all of them either.
    crowd.limit = min(crowd.limit, most // 2)
    if green:
        return runtime.GreenHttpServer(listener, app, most, crowd, NoRoom())
    return ThreadedHttpServer(listener, app, most, crowd, NoRoom())


def max_connections() -> int:
    """Give how many connections there may be at once, by how many files may be open."""
    files, _most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(FEWEST, min(MAX_CONNECTIONS, files - KEPT_FILES))


class NoRoom:
    """Says in the log, now and then, that the machine has nothing left for a connection."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._told_at = float("-inf")

    def __call__(self, error: OSError) -> None:
        """Take note of one more."""
        now = time.monotonic()
        if now - self._told_at >= TELL_GAP_S:
            self._told_at = now
            logger.error(
                "no connection can be taken: %s; raise the limit of open files", error.strerror
            )
