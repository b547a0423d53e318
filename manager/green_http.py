"""What eventlet's WSGI server leaves open: who waits without end, comes in crowds or sends no end.

Given eventlet by ``runtime``, which alone imports it. Without this, one visitor's idle connections
are kept for ever; the first one for which no descriptor is left ends the server, as its loop takes
every error of ``accept`` for the end (``eventlet.wsgi.server``); and a websocket message in many
frames is kept whole, however long, since only the length of one frame is limited there.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from typing import Any, Protocol

from manager.answer_headers import HEADERS, LINES

HEAD_S = 20.0
"""Time for a whole request line and header, as in the shipped Caddyfile."""

KEPT_S = 180.0
"""How long a connection is kept for its next request. Longer than Caddy keeps one to the page (two
minutes by default): it must not send a request on one that is just being closed."""

STILL_S = 300.0
"""Who sends nothing of a body, or takes nothing of an answer, for so long is cut. Not Caddy, which
knows its own visitors: the operator says there how long it waits."""

MOST_FRAMES = 64
"""Empty frames of one websocket message; pages send theirs in one frame."""

PAUSE_S = 0.1
UNREAD_BYTES = 64 << 10

NO_ROOM = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PASSING = frozenset({errno.ECONNABORTED, errno.ECONNRESET, errno.EPROTO, errno.EPERM, errno.EINTR})

TOO_MANY = "Too many connections from this address. / 来自此地址的连接过多。\n".encode()
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Retry-After: 10\r\nConnection: close\r\n%s"
    b"Content-Length: %d\r\n\r\n%s" % (LINES, len(TOO_MANY), TOO_MANY)
)


class Crowd(Protocol):
    """Who is let in, by address."""

    def enter(self, address: str) -> bool:
        """Let one in, or not."""

    def leave(self, address: str) -> None:
        """Take note that one has gone."""


class Door:
    """A listening socket as eventlet's server uses one; ``accept`` fails only when it is closed."""

    def __init__(
        self, listener: socket.socket, crowd: Crowd, no_room: Callable[[OSError], None]
    ) -> None:
        """Keep all three; ``no_room`` is told when the machine has nothing left for one."""
        self._listener = listener
        self._crowd = crowd
        self._no_room = no_room

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the socket's own
        """Give what the socket has."""
        return getattr(self._listener, name)

    def accept(self) -> tuple[socket.socket, Any]:
        """Wait for a connection of somebody who may have one more."""
        while True:
            try:
                accepted, address = self._listener.accept()
            except OSError as error:
                if error.errno in NO_ROOM:
                    self._no_room(error)
                    time.sleep(PAUSE_S)
                elif error.errno not in _PASSING:
                    raise
                continue
            if self._crowd.enter(name_of(address)):
                return accepted, address
            refuse(accepted)


def name_of(address: object) -> str:
    """Give the address without its port; a socket file's is empty, and the same for everybody."""
    return str(address[0]) if isinstance(address, tuple) else ""


def refuse(accepted: socket.socket) -> None:
    """Say why, and let it go, without a wait for who does not listen."""
    try:
        accepted.setblocking(False)
        accepted.send(REFUSAL)
        accepted.shutdown(socket.SHUT_WR)
        # What lies unread at the end has the other side's system throw the refusal away.
        accepted.recv(UNREAD_BYTES)
    except OSError:
        pass
    finally:
        accepted.close()


def protocol(eventlet: Any, crowd: Crowd) -> type[Any]:  # noqa: ANN401 - a module without types
    """Make eventlet's handler of a connection, with ends to its patience."""
    base: type[Any] = eventlet.wsgi.HttpProtocol

    class Patient(_WithHeads, base):  # type: ignore[misc]
        """Reads a request within a time, and counts its connection as gone when it is."""

        requests = 0

        def __init__(self, connection: list[Any], server: Any) -> None:  # noqa: ANN401
            try:
                super().__init__(connection, server)
            finally:
                crowd.leave(name_of(connection[0]))

        def _read_request_line(self) -> bytes | str:
            self.requests += 1
            # The time's end leaves the block, and the function with what an end of the line is.
            with eventlet.Timeout(HEAD_S if self.requests == 1 else KEPT_S, False):
                return super()._read_request_line()  # type: ignore[no-any-return]
            return ""

        def parse_request(self) -> bool:
            with eventlet.Timeout(HEAD_S, False):
                return bool(super().parse_request())
            self.close_connection = True
            return False

        def get_environ(self) -> dict[str, Any]:
            environ: dict[str, Any] = super().get_environ()
            # An open page says nothing for as long as it likes; it is asked for a sign of life.
            waits = "HTTP_UPGRADE" in environ or not name_of(self.client_address)
            self.connection.settimeout(None if waits else STILL_S)
            return environ

    return Patient


BARE = (b"HTTP/1.0 4", b"HTTP/1.1 500 Internal Server Error\r\n")
"""How answers begin that eventlet's server gives by itself: to a head that is none, and for an
application that broke off (``handle_one_request``). No answer of ours looks so."""


class _Headed:
    """What an answer is written to; heads those that eventlet's server gives by itself."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - of a socket
        self._file = file

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the file's own
        return getattr(self._file, name)

    def write(self, data: bytes) -> Any:  # noqa: ANN401 - as the file's
        if data.startswith(BARE):
            data = data.replace(b"\r\n", b"\r\n" + LINES, 1)
        return self._file.write(data)


class _WithHeads:
    """Gives a handler of connections the headers on what it says by itself."""

    # Who names none gets a head all the same, and so do refusals of a line that is none.
    default_request_version = "HTTP/1.0"
    wfile: Any

    def setup(self) -> None:
        super().setup()  # type: ignore[misc]
        self.wfile = _Headed(self.wfile)

    def end_headers(self) -> None:
        # Only what refuses a head that is none comes by here (http.server's send_error).
        for name, value in HEADERS.items():
            self.send_header(name, value)  # type: ignore[attr-defined]
        super().end_headers()  # type: ignore[misc]


def limit_messages(eventlet: Any) -> None:  # noqa: ANN401 - a module without types
    """Have a websocket message be no longer in many frames than it may be in one."""
    websocket = eventlet.websocket
    base: type[Any] = websocket.RFC6455WebSocket.Message

    class Short(base):  # type: ignore[misc]
        """A message that ends the connection once it is too long (RFC 6455, 7.4.1)."""

        size = 0

        def push(self, data: bytes, final: bool = False) -> None:
            super().push(data, final)
            self.size += len(data)
            # A frame may come in pieces as short as a byte; what is more has nothing in it.
            pieces = len(self.data)
            if self.size > self.max_frame_length or pieces > self.max_frame_length + MOST_FRAMES:
                raise websocket.FailedConnectionError(1009, "too long")

    websocket.RFC6455WebSocket.Message = Short
