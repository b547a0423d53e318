"""Caddy's admin interface over its unix socket: load a configuration, ask whether it is there.

Owns the connection and what Caddy's refusals become in words. Tokens never leave it: Caddy quotes
the line it does not like (https://caddyserver.com/docs/api).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import struct
from pathlib import Path

from manager.errors import GateFailed

LOAD_TIMEOUT_S = 30.0
"""A configuration of 64 gates takes Caddy half a second on two busy cores."""

ASK_TIMEOUT_S = 5.0

_SECRET = re.compile(r"\b[A-Za-z0-9]{32}\b")
_TAKEN = re.compile(r":(\d+): bind: address already in use")


class NoAnswer(GateFailed):
    """Caddy does not answer: dead, dying or stuck."""


class LoadRefused(GateFailed):
    """Caddy answered, and said no: the configuration in force before is still in force.

    ``taken_port`` is the port another program listens on, when that is why.
    """

    def __init__(self, message: str) -> None:
        """Keep Caddy's sentence and the port it may name."""
        super().__init__(message)
        found = _TAKEN.search(message)
        self.taken_port = int(found.group(1)) if found else None


def connect(path: Path, timeout_s: float | None) -> socket.socket:
    """Connect to a unix socket whose path may be longer than the kernel's 107 bytes."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect(f"/proc/self/fd/{folder}/{path.name}")
        except OSError:
            sock.close()
            raise
        return sock
    finally:
        os.close(folder)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        # Caddy wants some Host header; which one does not matter on a unix socket.
        super().__init__("localhost", timeout=timeout_s)
        self._socket_path = path

    def connect(self) -> None:
        self.sock = connect(self._socket_path, self.timeout)


def redact(text: str) -> str:
    """Take out everything that could be a token."""
    return _SECRET.sub("…", text)


def load(path: Path, caddyfile: str) -> None:
    """Put ``caddyfile`` into force.

    Raises:
        LoadRefused: Caddy does not accept it and goes on with what it had.
        NoAnswer: whether it is in force is not known.
    """
    headers = {"Content-Type": "text/caddyfile"}
    body = caddyfile.encode("utf-8")
    try:
        status, answer = _ask(path, "POST", "/load", body, headers, LOAD_TIMEOUT_S)
    except (ConnectionError, http.client.HTTPException):
        # Caddy replaces its admin server at every load, so a load right after another one may
        # find the old one closing. The same configuration twice changes nothing.
        status, answer = _ask_or_fail(path, "POST", "/load", body, headers, LOAD_TIMEOUT_S)
    except OSError as error:
        raise NoAnswer(f"Caddy does not answer: {error!r}") from error
    if status != http.client.OK:
        raise LoadRefused(f"Caddy refuses the configuration: {_words(answer)}")


def answers(path: Path) -> bool:
    """Tell whether a Caddy answers at the socket."""
    try:
        status, _ = _ask(path, "GET", "/config/admin", b"", {}, ASK_TIMEOUT_S)
    except (OSError, http.client.HTTPException):
        return False
    return status == http.client.OK


def listener(path: Path) -> int | None:
    """Give the pid of the process that listens at the socket, as the kernel knows it (unix(7))."""
    try:
        with connect(path, ASK_TIMEOUT_S) as sock:
            size = struct.calcsize("3i")
            peer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    except OSError:
        return None
    pid: int = struct.unpack("3i", peer)[0]
    return pid or None


def _ask_or_fail(
    path: Path, method: str, url: str, body: bytes, headers: dict[str, str], timeout_s: float
) -> tuple[int, bytes]:
    try:
        return _ask(path, method, url, body, headers, timeout_s)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"Caddy does not answer: {error!r}") from error


def _ask(
    path: Path, method: str, url: str, body: bytes, headers: dict[str, str], timeout_s: float
) -> tuple[int, bytes]:
    connection = _UnixConnection(path, timeout_s)
    try:
        connection.request(method, url, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _words(answer: bytes) -> str:
    text = answer.decode("utf-8", errors="replace")
    with contextlib.suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["error"])
    return redact(text.strip())
