"""Caddy's admin interface over its unix socket: load a configuration, ask whether it is there.

Owns the connection, the secret that Caddy asks for, and what Caddy's refusals become in words.
Tokens never leave it: Caddy quotes the line it does not like (https://caddyserver.com/docs/api).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import socket
import string
import struct
from dataclasses import dataclass, field
from pathlib import Path

from manager.errors import GateFailed

LOAD_TIMEOUT_S = 30.0
"""A configuration of 64 gates takes Caddy half a second on two busy cores."""

ASK_TIMEOUT_S = 5.0

SECRET_LENGTH = 32
_ALPHABET = string.ascii_letters + string.digits
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


@dataclass(frozen=True)
class Door:
    """Where Caddy is controlled, and the secret it asks for; empty for one that asks for none."""

    path: Path
    secret: str = field(repr=False)


def read_secret(path: Path) -> str:
    """Give the secret of this data directory; made once, readable for this account alone.

    Code of this account may be kept from reading the file, but not from connecting to the socket
    (Landlock restricts no connect to a path: https://docs.kernel.org/userspace-api/landlock.html).

    Raises:
        OSError: it cannot be read or made.
    """
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        found = path.read_text(encoding="ascii").strip()
        if len(found) == SECRET_LENGTH and _SECRET.fullmatch(found):
            path.chmod(0o600)
            return found
    fresh = "".join(secrets.choice(_ALPHABET) for _ in range(SECRET_LENGTH))
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(fresh + "\n")
    draft.replace(path)
    return fresh


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


def load(door: Door, caddyfile: str) -> None:
    """Put ``caddyfile`` into force.

    Raises:
        LoadRefused: Caddy does not accept it and goes on with what it had.
        NoAnswer: whether it is in force is not known.
    """
    headers = {"Content-Type": "text/caddyfile"}
    body = caddyfile.encode("utf-8")
    try:
        status, answer = _ask(door, "POST", "/load", body, headers, LOAD_TIMEOUT_S)
    except (ConnectionError, http.client.HTTPException):
        # Caddy replaces its admin server at every load, so a load right after another one may
        # find the old one closing. The same configuration twice changes nothing.
        status, answer = _ask_or_fail(door, "POST", "/load", body, headers, LOAD_TIMEOUT_S)
    except OSError as error:
        raise NoAnswer(f"Caddy does not answer: {error!r}") from error
    if status != http.client.OK:
        raise LoadRefused(f"Caddy refuses the configuration: {_words(answer)}")


def answers(door: Door) -> bool:
    """Tell whether a Caddy answers at the socket, and takes the secret."""
    return _status(door) == http.client.OK


def find_door(path: Path, secret: str) -> Door | None:
    """Find out whether the running Caddy asks for the secret; one of an earlier version does not.

    Such a one logs the headers it gets, so it is asked without the secret first.

    Returns:
        None when nobody answers, or who answers has another secret.
    """
    without, door = Door(path, ""), Door(path, secret)
    status = _status(without)
    if status == http.client.OK:
        return without
    return door if status and answers(door) else None


def _status(door: Door) -> int | None:
    try:
        return _ask(door, "GET", "/config/admin", b"", {}, ASK_TIMEOUT_S)[0]
    except (OSError, http.client.HTTPException):
        return None


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
    door: Door, method: str, url: str, body: bytes, headers: dict[str, str], timeout_s: float
) -> tuple[int, bytes]:
    try:
        return _ask(door, method, url, body, headers, timeout_s)
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(f"Caddy does not answer: {error!r}") from error


def _ask(
    door: Door, method: str, url: str, body: bytes, headers: dict[str, str], timeout_s: float
) -> tuple[int, bytes]:
    connection = _UnixConnection(door.path, timeout_s)
    if door.secret:
        headers = {**headers, "Origin": f"http://{door.secret}"}
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
