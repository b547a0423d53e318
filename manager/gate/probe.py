"""Looks from outside: is a gate port free, who holds it, does a gate do what it should.

Owns no state. Used by ``gate.py`` before Caddy begins and after every change.
"""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus

import psutil

from manager.errors import GateFailed
from manager.gate.address import is_everywhere
from manager.gate.opening import Opening
from manager.ports import PortRow

TIMEOUT_S = 5.0
TRIES = 25
PAUSE_S = 0.02
"""A fresh connection in the few milliseconds in which Caddy swaps its listeners may be dropped."""

TLS_TRIES = 500
"""At its very first start Caddy listens before its own authority has made a certificate."""


_UNSEEN = "whose pid this user may not see"


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
    pid = holder_pid(port)
    try:
        return f"pid {pid}, {psutil.Process(pid).name()}" if pid else _UNSEEN
    except (psutil.Error, OSError):
        return _UNSEEN


def holder_pid(port: int) -> int | None:
    """Give who listens on the port, as far as this user may see. Walks /proc: offload it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            at = connection.laddr
            if (
                at
                and at.port == port
                and connection.status == psutil.CONN_LISTEN
                and connection.pid
            ):
                return int(connection.pid)
    except (psutil.Error, OSError):
        pass
    return None


def check(
    host: str, rows: Iterable[PortRow], openings: Mapping[int, Opening], *, tls: bool = False
) -> None:
    """Ask every gate in ``rows`` whether it is open or closed as ``openings`` says.

    With ``tls`` the certificate is not looked at: which names visitors use is not known here.

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
            status = _status(host, port, path, expected, tls=tls)
            if status != expected:
                raise GateFailed(
                    f"端口 {row.port}: gate port {port} answers {status or 'nothing'} instead of "
                    f"{expected.value}; does another program listen there too?",
                    port=row.port,
                )


def check_page(host: str, port: int) -> None:
    """Ask whether the manager's own page is served by TLS, be it that the manager is away.

    Raises:
        GateFailed: nothing answers.
    """
    for attempt in range(TLS_TRIES):
        if attempt:
            time.sleep(PAUSE_S)
        if ask(_reachable(host), port, "/healthz", tls=True) is not None:
            return
    raise GateFailed(f"MANAGER_PORT = {port} does not answer by TLS, though Caddy runs")


def _status(host: str, port: int, path: str, expected: int, *, tls: bool) -> int | None:
    status: int | None = None
    for attempt in range(TLS_TRIES if tls else TRIES):
        # Only what does not answer at all is waited for longer.
        if status is not None and attempt >= TRIES:
            break
        if attempt:
            time.sleep(PAUSE_S)
        status = ask(_reachable(host), port, path, tls=tls)
        if status == expected:
            break
    return status


def ask(host: str, port: int, path: str, *, tls: bool) -> int | None:
    """Give the status that a server of this machine answers with; None when it does not answer.

    By TLS without a look at its certificate: whether it answers is all that is asked.
    """
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    try:
        connection.request("HEAD", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _reachable(host: str) -> str:
    return "127.0.0.1" if is_everywhere(host) else host
