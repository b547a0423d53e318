"""Questions to the head of a Ray cluster by HTTP, each within hard bounds.

The standard library reads the answers from a connection that ends at a deadline whatever comes:
libraries bound each wait, and one that drips holds them for ever. Nothing reaches in from outside:
no proxy or netrc of the environment, no redirect, no cookie. The token is in no error and no repr.
"""

from __future__ import annotations

import io
import json
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from manager import runtime

CONNECT_S = 3.0
WAIT_S = 5.0
"""For each piece of an answer."""

WHOLE_S = 10.0
MOST_BYTES = 32 << 20
"""Of an answer: a job is told with up to 20,000 letters of its output, so this has a thousand."""

_PIECE = 1 << 16
_PORTS = {"http": 80, "https": 443}

SHOWN_NONE = (
    "Ray asks for a token and was shown none: put the one of the cluster into RAY_TOKEN_FILE"
)
SHOWN_WRONG = (
    "Ray does not accept the token in RAY_TOKEN_FILE: put the one of the cluster into it, which "
    "is in RAY_AUTH_TOKEN or ~/.ray/auth_token where the head was started"
)


class Silent(Exception):
    """There was no usable answer; the text says why, and holds nothing secret."""


class TurnedAway(Silent):
    """The cluster does not want to hear us: without a token, or with a wrong one."""


@dataclass(frozen=True)
class Answer:
    """What was answered, whatever the status."""

    status: int
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - that is for the caller to look at
        """Read the body beside everybody else's work.

        Raises:
            Silent: it is no JSON, or the status is not 200.
        """
        if self.status != HTTPStatus.OK:
            raise Silent(f"it answered with {self.status}: {said(self.body)}")
        try:
            return runtime.offload(json.loads, self.body)
        except (ValueError, RecursionError):
            raise Silent(f"its answer is no JSON: {said(self.body)}") from None


def said(body: bytes, most: int = 200) -> str:
    """Give the last line of what was answered, as the letters of one line: there the reason is."""
    lines = [line.strip() for line in body[-4096:].decode("utf-8", "replace").splitlines()]
    text = next((line for line in reversed(lines) if line), "nothing")
    return "".join(c if c.isprintable() else "?" for c in text)[:most]


class Questions:
    """Asks one address. Every question has a connection of its own."""

    def __init__(self, address: str, token: str | None, ca_file: Path | None) -> None:
        """Say where, with which token and by which authority's certificate (None: the system's).

        Raises:
            OSError, ssl.SSLError: ``ca_file`` cannot be read.
        """
        found = urlsplit(address)
        self._host = found.hostname or ""
        self._port = found.port or _PORTS[found.scheme]
        self._prefix = found.path
        self._shown = f"[{self._host}]" if ":" in self._host else self._host
        self._token = token
        self._tls: ssl.SSLContext | None = None
        if found.scheme == "https":
            self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)

    def ask(
        self, path: str, *, method: str = "GET", content: object = None, token: bool = True
    ) -> Answer:
        """Ask, once, and give the answer whatever its status but 401 and 403.

        Raises:
            TurnedAway: it wants another token.
            Silent: no answer within the bounds; whether the question has arrived is not known.
        """
        pieces: list[bytes] = []
        status = self.stream(path, pieces.append, method=method, content=content, token=token)
        return Answer(status, b"".join(pieces))

    def stream(
        self,
        path: str,
        take: Callable[[bytes], object],
        *,
        method: str = "GET",
        content: object = None,
        token: bool = True,
        most: int = MOST_BYTES,
    ) -> int:
        """Ask, and hand over the answer piece by piece; give its status.

        Raises:
            TurnedAway, Silent: as ``ask`` does.
        """
        question = self._question(method, path, content, self._token if token else None)
        try:
            status = self._exchange(method, question, take, most)
        except (OSError, HTTPException, ValueError) as error:
            raise Silent(_why(error)) from None
        if status == HTTPStatus.UNAUTHORIZED:
            raise TurnedAway(SHOWN_WRONG if token and self._token else SHOWN_NONE)
        if status == HTTPStatus.FORBIDDEN:
            raise TurnedAway(SHOWN_WRONG)
        return status

    def _exchange(
        self, method: str, question: bytes, take: Callable[[bytes], object], most: int
    ) -> int:
        until = time.monotonic() + WHOLE_S
        with socket.create_connection((self._host, self._port), CONNECT_S) as opened:
            opened.settimeout(WAIT_S)
            with self._secured(opened) as connection:
                connection.sendall(question)
                # It asks for nothing of a socket but ``makefile``.
                source = cast("socket.socket", _Bounded(connection, until))
                with HTTPResponse(source, method=method) as response:
                    response.begin()
                    _hand_over(response, take, most)
                    return response.status

    def _secured(self, opened: socket.socket) -> socket.socket:
        if self._tls is None:
            return opened
        return self._tls.wrap_socket(opened, server_hostname=self._host)

    def _question(self, method: str, path: str, content: object, token: str | None) -> bytes:
        body = b"" if content is None else json.dumps(content).encode()
        lines = [
            f"{method} {self._prefix}{path} HTTP/1.1",
            f"Host: {self._shown}:{self._port}",
            "Accept: application/json",
            "Accept-Encoding: identity",
            "Connection: close",
        ]
        if token is not None:
            lines.append(f"Authorization: Bearer {token}")
        if content is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def _hand_over(response: HTTPResponse, take: Callable[[bytes], object], most: int) -> None:
    size = 0
    # ``read1`` gives what is there: ``read`` would wait for a whole piece.
    while piece := response.read1(_PIECE):
        size += len(piece)
        if size > most:
            raise ValueError(f"more than {most >> 20} MiB")
        take(piece)
        # One that sends as fast as it is read would else let nobody else run under eventlet.
        time.sleep(0)
    if response.length:
        raise ValueError("the answer is cut short")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); see RAY_CA_FILE"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, ssl.SSLError):
        return f"no TLS is spoken there ({error.reason})"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _Bounded(io.RawIOBase):
    """A connection for reading until a deadline (monotonic seconds)."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self._until = until

    def readable(self) -> bool:
        """Say that it is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - whatever has a buffer
        """Read what is there, after a wait if need be; 0 at the end."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("too slow")
        self._connection.settimeout(min(WAIT_S, left))
        return self._connection.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Give the reader that ``HTTPResponse`` asks for."""
        return io.BufferedReader(self)
