"""The server of ``ASYNC_MODE = "threading"``: werkzeug's, with ends to its patience.

A thread for each connection, so there are fewer of them. What ``green_http`` bounds is bounded here
too: connections of one address and of all, the time for a head and between two requests, and a body
or answer that stands still.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from manager.answer_headers import HEADERS
from manager.crowd import Crowd
from manager.green_http import HEAD_S, KEPT_S, NO_ROOM, PAUSE_S, STILL_S, name_of, refuse

MOST_THREADS = 1024
LOOK_S = 0.5


class Patience:
    """Cuts connections whose time is over, however busily they send a byte now and then."""

    def __init__(self) -> None:
        """Begin with nobody to wait for."""
        self._until: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        threading.Thread(target=self._run, name="patience", daemon=True).start()

    def watch(self, connection: socket.socket, seconds: float) -> None:
        """Cut it unless it is let be within ``seconds``."""
        with self._lock:
            self._until[connection] = time.monotonic() + seconds

    def let_be(self, connection: socket.socket) -> None:
        """Wait for it as long as it takes."""
        with self._lock:
            self._until.pop(connection, None)

    def end(self) -> None:
        """Cut nobody any more."""
        self._end.set()

    def _run(self) -> None:
        while not self._end.wait(LOOK_S):
            now = time.monotonic()
            with self._lock:
                over = [one for one, until in self._until.items() if until <= now]
                for one in over:
                    del self._until[one]
            for one in over:
                # Its thread reads the end then, and closes it.
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


class Handler(WSGIRequestHandler):
    """Werkzeug's handler without a line for each request; HTTP/1.1 for kept connections."""

    protocol_version = "HTTP/1.1"
    # Else a line that is none is refused as in HTTP/0.9, without a head.
    default_request_version = "HTTP/1.0"
    requests = 0
    _own_refusal = False

    @property
    def _patience(self) -> Patience:
        return cast("BoundedServer", self.server).patience

    def handle_one_request(self) -> None:
        """Read one request within its time, and answer it."""
        self._patience.watch(self.connection, KEPT_S if self.requests else HEAD_S)
        self.requests += 1
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Read the head that follows the first line."""
        self._patience.watch(self.connection, HEAD_S)
        try:
            return super().parse_request()
        finally:
            self._patience.let_be(self.connection)

    def make_environ(self) -> dict[str, Any]:
        """Say what is asked, and how long a body or an answer may stand still."""
        environ: dict[str, Any] = super().make_environ()
        # An open page says nothing for as long as it likes; Caddy knows its own visitors.
        waits = "HTTP_UPGRADE" in environ or not name_of(self.client_address)
        self.connection.settimeout(None if waits else STILL_S)
        return environ

    def finish(self) -> None:
        """Be done with a connection."""
        self._patience.let_be(self.connection)
        super().finish()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse a head that is none, with the headers of every other answer."""
        self._own_refusal = True
        super().send_error(code, message, explain)

    def end_headers(self) -> None:
        """End the head; the application's has all of them already."""
        if self._own_refusal:
            for name, value in HEADERS.items():
                self.send_header(name, value)
        super().end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing."""


class BoundedServer(ThreadedWSGIServer):
    """Werkzeug's server for so many connections."""

    def __init__(
        self,
        listener: socket.socket,
        app: Flask,
        most: int,
        crowd: Crowd,
        no_room: Callable[[OSError], None],
    ) -> None:
        """Take over a listening socket; it works on a duplicate of the descriptor."""
        host, port = "unix://", 0
        if listener.family != socket.AF_UNIX:
            host, port = listener.getsockname()[:2]
        super().__init__(host, port, app, Handler, fd=listener.fileno())
        self.patience = Patience()
        self.ending = False
        self._crowd, self._no_room = crowd, no_room
        self._room = threading.BoundedSemaphore(most)

    def get_request(self) -> tuple[Any, Any]:
        """Take a connection; a machine without room is asked again after a while."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in NO_ROOM:
                self._no_room(error)
                time.sleep(PAUSE_S)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Begin with somebody who may have one more, when there is room for him."""
        who = name_of(client_address)
        if not self._crowd.enter(who):
            refuse(request)
            return
        while not self._room.acquire(timeout=LOOK_S):
            if self.ending:
                self._crowd.leave(who)
                self.shutdown_request(request)
                return
        try:
            super().process_request(request, client_address)
        except BaseException:
            # No thread could be begun, so none is there to see it out.
            self._gone(who)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """See to one connection until its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._gone(name_of(client_address))

    def _gone(self, who: str) -> None:
        self._room.release()
        self._crowd.leave(who)


class ThreadedHttpServer:
    """That server at work: the way out of eventlet, and what the tests use."""

    def __init__(
        self,
        listener: socket.socket,
        app: Flask,
        most: int,
        crowd: Crowd,
        no_room: Callable[[OSError], None],
    ) -> None:
        """Begin to serve in a thread."""
        self._server = BoundedServer(listener, app, most, crowd, no_room)
        listener.close()
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    def stop(self, limit_s: float) -> None:
        """Take no more requests; those under way go on in their threads."""
        self._server.ending = True
        self._server.shutdown()
        self._thread.join(limit_s)
        self._server.server_close()
        self._server.patience.end()
