"""Short questions by HTTP/1.1 over connections that are kept open, each within hard bounds.

One connection an address is kept between two questions. The standard library's ``http.client``
reads the answer: a second's check of each instance costs half of what it would with ``requests``,
and nothing can reach in from outside: no proxy or netrc of the environment, no redirect, no cookie.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, cast

from manager.records import GUARD_HEADER, Address

TIMEOUT_S = 0.5
"""For connecting and for each wait for bytes: well below the time between two checks."""

TOTAL_S = 2.0
"""For a whole answer from connecting to its last byte, against one that drips."""

BODY_LIMIT = 4 << 20
"""Bytes of an answer that are read at most: parsing so many holds everybody up for some 40 ms.

A graph of hundreds of nodes has some 0.2 MB."""

UNUSABLE = (OSError, HTTPException, ValueError)
"""What ``Connections`` raises for want of a usable answer."""

_PIECE = 1 << 20
_SPARE = 8


class TooLong(ValueError):
    """An answer is longer than is read."""


@dataclass(frozen=True)
class Bounds:
    """Of one answer: its bytes, seconds for each wait for some, and seconds for all of it."""

    bytes: int
    wait_s: float
    total_s: float


USUAL = Bounds(BODY_LIMIT, TIMEOUT_S, TOTAL_S)


class Connections:
    """The connections, at most one open to each address between two questions."""

    def __init__(self, addresses: int, authority: Path | None = None) -> None:
        """Keep connections to about so many addresses; beyond that the one unused longest goes.

        ``authority`` is the certificate by which instances reached by https are known; without it
        none is asked. It need not be there before the first of them is.
        """
        self._authority = authority
        self._trust: ssl.SSLContext | None = None
        self._kept: dict[Address, socket.socket] = {}
        self._most = addresses + _SPARE
        self._lock = threading.Lock()

    def body(
        self, address: Address, path: str, secret: str | None, bounds: Bounds | None = None
    ) -> bytes:
        """Ask for ``path`` and give the whole of what is answered with 200.

        ``secret`` is shown when given; ``limit`` None is ``BODY_LIMIT``.

        Raises:
            TooLong: it is longer than the bounds allow.
            OSError, HTTPException, ValueError: no such answer within the bounds; see ``UNUSABLE``.
        """
        status, body = self._ask(address, path, secret, bounds or USUAL, want_body=True)
        if status != HTTPStatus.OK:
            raise ValueError(status)
        return body

    def status(self, address: Address, path: str) -> int:
        """Ask for ``path`` without a secret and give the status alone.

        Raises:
            OSError, HTTPException, ValueError: no answer within the bounds; see ``UNUSABLE``.
        """
        return self._ask(address, path, None, USUAL, want_body=False)[0]

    def post(
        self, address: Address, path: str, secret: str | None, content: bytes, bounds: Bounds
    ) -> tuple[int, bytes]:
        """Send ``content``, once, and give status and answer whatever the status.

        Raises:
            OSError, HTTPException, ValueError: no answer within the bounds; whether it has arrived
                is not known.
        """
        question = _question(address, path, secret, content)
        deadline = time.monotonic() + bounds.total_s
        # One that was kept open may be closed at the other end by now, and then nobody could tell.
        with self._open(address, bounds.wait_s) as opened:
            opened.sendall(question)
            source = cast("socket.socket", _Bounded(opened, deadline, bounds.wait_s))
            with HTTPResponse(source, method="POST") as response:
                response.begin()
                return response.status, _read(response, bounds.bytes)

    def forget(self, address: Address) -> None:
        """Close what is open to an address."""
        with self._lock:
            kept = self._kept.pop(address, None)
        if kept is not None:
            kept.close()

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            kept, self._kept = self._kept, {}
        for connection in kept.values():
            connection.close()

    def _ask(
        self, address: Address, path: str, secret: str | None, bounds: Bounds, *, want_body: bool
    ) -> tuple[int, bytes]:
        deadline = time.monotonic() + bounds.total_s
        question = _question(address, path, secret)
        with self._lock:
            kept = self._kept.pop(address, None)
        if kept is not None:
            try:
                return self._ask_on(kept, address, question, deadline, bounds, want_body)
            except (ConnectionError, ssl.SSLError):
                # The other end had closed it meanwhile, or has begun anew: not yet an answer.
                pass
        opened = self._open(address, bounds.wait_s)
        return self._ask_on(opened, address, question, deadline, bounds, want_body)

    def _open(self, address: Address, wait_s: float) -> socket.socket:
        """Connect; by https only to who shows the certificate of this very launch.

        Raises:
            OSError: nobody is there, or somebody else.
        """
        opened = socket.create_connection((address.host, address.port), wait_s)
        if not address.pinned:
            return opened
        try:
            return self._trusting().wrap_socket(opened, server_hostname=address.name)
        except (OSError, ValueError):
            opened.close()
            raise

    def _trusting(self) -> ssl.SSLContext:
        """Give what checks certificates: the manager's own authority, and no other."""
        if self._trust is None:
            if self._authority is None:
                raise ValueError("no authority for instances")
            # It asks for a certificate and looks at its name (Python documentation, "ssl").
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trust.minimum_version = ssl.TLSVersion.TLSv1_2
            trust.load_verify_locations(self._authority)
            self._trust = trust
        return self._trust

    def _ask_on(
        self,
        connection: socket.socket,
        address: Address,
        question: bytes,
        deadline: float,
        bounds: Bounds,
        want_body: bool,
    ) -> tuple[int, bytes]:
        keep = False
        try:
            connection.sendall(question)
            # It asks for nothing of a socket but ``makefile``.
            source = cast("socket.socket", _Bounded(connection, deadline, bounds.wait_s))
            with HTTPResponse(source, method="GET") as response:
                response.begin()
                if not want_body or response.status != HTTPStatus.OK:
                    return response.status, b""
                body = _read(response, bounds.bytes)
                keep = not response.will_close
                return response.status, body
        finally:
            if keep:
                self._keep(address, connection)
            else:
                connection.close()

    def _keep(self, address: Address, connection: socket.socket) -> None:
        with self._lock:
            spare = self._kept.pop(address, None)
            if spare is None and len(self._kept) >= self._most:
                # Each use puts an address at the end.
                spare = self._kept.pop(next(iter(self._kept)))
            self._kept[address] = connection
        if spare is not None:
            spare.close()


class _Bounded(io.RawIOBase):
    """A connection for reading until a deadline (monotonic seconds)."""

    def __init__(self, connection: socket.socket, deadline: float, wait_s: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._wait_s = wait_s

    def readable(self) -> bool:
        """Say that it is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever has a buffer
        """Read what is there, after a wait if need be; 0 at the end."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow")
        self._connection.settimeout(min(self._wait_s, left))
        return self._connection.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Give the reader that ``HTTPResponse`` asks for."""
        return io.BufferedReader(self)


def _question(
    address: Address, path: str, secret: str | None, content: bytes | None = None
) -> bytes:
    if not address.usable:
        raise ValueError("only http is spoken, or https to one whose certificate is known")
    shown = f"{GUARD_HEADER}: {secret}\r\n" if secret else ""
    about, method = "", "GET"
    if content is not None:
        about, method = f"Content-Length: {len(content)}\r\nConnection: close\r\n", "POST"
        about += "Content-Type: application/json\r\n"
    text = (
        f"{method} {path} HTTP/1.1\r\nHost: {address.authority}\r\n"
        f"Accept-Encoding: identity\r\n{about}{shown}\r\n"
    )
    return text.encode("ascii") + (content or b"")


def _read(response: HTTPResponse, limit: int) -> bytes:
    """Read the whole body.

    Raises:
        TooLong: it is longer than ``limit`` bytes.
        ValueError: it is longer than what was sent of it.
    """
    pieces: list[bytes] = []
    size = response.length or 0
    while size <= limit and (piece := response.read(min(_PIECE, limit + 1))):
        pieces.append(piece)
        size = sum(map(len, pieces)) + (response.length or 0)
        # One that sends as fast as it is read would else let nobody else run under eventlet.
        time.sleep(0)
    if size > limit:
        raise TooLong(size)
    if response.length:
        raise ValueError("cut short")
    return b"".join(pieces)
