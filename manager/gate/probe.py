"""Looks from outside: is a gate port free, who holds it, does a gate do what it should.

Owns no state. Used by ``gate.py`` before Caddy begins and after every change.
"""

from __future__ import annotations

import errno
import http.client
import socket
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus

import psutil

from manager.errors import GateFailed
from manager.gate.opening import Opening
from manager.gate.render import is_everywhere
from manager.ports import PortRow

TIMEOUT_S = 5.0
TRIES = 25
PAUSE_S = 0.02
"""A fresh connection in the few milliseconds in which Caddy swaps its listeners may be dropped."""


def is_free(host: str, port: int) -> bool:
    """Tell whether nobody listens on the port, not even somebody who would share it."""
    return not any(_taken(family, (at, port)) for family, at in _listen_addresses(host))


def _taken(family: socket.AddressFamily, address: tuple[str, int]) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            # Connections that are already over do not count; a listener still does.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            # Two sockets may be bound like this, but only one may listen.
            sock.listen(1)
    except OSError as error:
        # No IPv6, no such address, no right to the port: Caddy will say so in its own words.
        return error.errno == errno.EADDRINUSE
    return False


def _listen_addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    if is_everywhere(host):
        return [(socket.AF_INET, ""), (socket.AF_INET6, "")]
    return [(socket.AF_INET6 if ":" in host else socket.AF_INET, host)]


def holder(port: int) -> str:
    """Describe who listens on the port, as far as this user may see. Walks /proc: offload it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            at = connection.laddr
            if (
                at
                and at.port == port
                and connection.status == psutil.CONN_LISTEN
                and connection.pid
            ):
                return f"pid {connection.pid}, {psutil.Process(connection.pid).name()}"
    except (psutil.Error, OSError):
        pass
    return "whose pid this user may not see"


def check(host: str, rows: Iterable[PortRow], openings: Mapping[int, Opening]) -> None:
    """Ask every gate in ``rows`` whether it is open or closed as ``openings`` says.

    Raises:
        GateFailed: names the first port that answers something else.
    """
    for row in rows:
        name, opening = f"token_{row.port}", openings.get(row.port)
        questions = [(row.workspace_port, "/", HTTPStatus.FORBIDDEN)]
        questions.append((row.external_port, "/", HTTPStatus.FORBIDDEN))
        if opening is not None:
            questions.append((row.workspace_port, f"/?{name}={opening.token}", HTTPStatus.FOUND))
        for port, path, expected in questions:
            status = _status(host, port, path, expected)
            if status != expected:
                raise GateFailed(
                    f"端口 {row.port}: gate port {port} answers {status or 'nothing'} instead of "
                    f"{expected.value}; does another program listen there too?",
                    port=row.port,
                )


def _status(host: str, port: int, path: str, expected: int) -> int | None:
    status = None
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_S)
        status = _ask(_reachable(host), port, path)
        if status == expected:
            break
    return status


def _ask(host: str, port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("HEAD", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _reachable(host: str) -> str:
    return "127.0.0.1" if is_everywhere(host) else host
