"""What the gate's tests share: a project folder, something behind the gate, and ways to knock."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import shutil
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import websocket

from manager import identity, settings
from manager.gate.gate import Gate
from manager.gate.opening import Opening
from manager.gate.tls import ROOT_PATH
from manager.settings import ROOT, Settings
from tests.support.ports import free_port, free_ports

OPEN = 101
"""What ``knock_websocket`` gives for a socket that was let in."""

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


by_tls: dict[int, ssl.SSLContext] = {}
"""Ports that speak TLS, and whom to trust there: filled by ``running_gate``."""


def trust(of: Settings) -> ssl.SSLContext:
    """Trust the certificate of these settings, or their own authority, and no other."""
    own = of.data_dir / ROOT_PATH
    return ssl.create_default_context(cafile=own if of.tls == "internal" else of.tls_cert)


def opening(port: int, token: str, secret: str | None = None, owner: int = 0) -> Opening:
    """Make the opening of a gate in front of an instance of this machine."""
    return Opening(token, secret, upstream=f"127.0.0.1:{port}", owner=owner)


def project(folder: Path, rows: int = 2, **environ: str) -> Settings:
    """Make a project folder with the shipped Caddyfile and settings on free ports of loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "Caddyfile", folder / "Caddyfile")
    numbers = iter(free_ports(3 * rows))
    if environ.get("TLS", "off") != "off":
        # Then Caddy serves the manager's page too, or would.
        environ = {"MANAGER_HOST": "127.0.0.1", "MANAGER_PORT": str(free_port()), **environ}
    table = ",".join(
        f"{next(numbers)}:{next(numbers)}:{next(numbers)}:{n + 1}" for n in range(rows)
    )
    return settings.load({"PORTS": table, "GATE_HOST": "127.0.0.1", **environ}, root=folder)


@contextlib.contextmanager
def running_gate(of: Settings) -> Iterator[Gate]:
    """Give a started gate; afterwards nothing of it may be left."""
    gate = Gate(of)
    ours = [port for row in of.ports for port in (row.workspace_port, row.external_port)]
    try:
        gate.start()
        if of.tls != "off":
            by_tls.update(dict.fromkeys(ours, trust(of)))
        yield gate
    finally:
        for port in ours:
            by_tls.pop(port, None)
        pid = gate.watch().pid
        gate.stop()
        assert pid is None or identity.read(pid) is None


class _Handler(BaseHTTPRequestHandler):
    """Answers with a page, else with what it was sent, and echoes on websockets."""

    protocol_version = "HTTP/1.1"
    server: Upstream

    def do_GET(self) -> None:
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self._note()
            self._echo()
        else:
            self.do_POST()

    def do_POST(self) -> None:
        # Whatever the method: what is left of a body would be taken for the next request.
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self.rfile.read(size + 2)
            while self.rfile.readline().strip():
                pass
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._tell()

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_POST  # noqa: N815

    def log_message(self, *_args: Any) -> None:
        """Keep the tests' output quiet."""

    def _note(self) -> dict[str, Any]:
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "names": [name.lower() for name in self.headers],
        }
        self.server.seen.append(seen)
        return seen

    def _tell(self) -> None:
        body = json.dumps(self._note()).encode()
        kind, body = self.server.pages.get(self.path, ("application/json", body))
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in self.server.extra_headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _echo(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + _GUID
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            mask = self.rfile.read(4)
            data = self.rfile.read(head[1] & 0x7F)
            if head[0] & 0x0F != 1:
                return
            text = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))
            self.wfile.write(struct.pack("BB", 0x81, len(text)) + text)
            self.wfile.flush()


class Upstream(ThreadingHTTPServer):
    """Stands behind a gate on 127.0.0.1; ``kill`` is what the kernel does when a process dies."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.seen: list[dict[str, Any]] = []
        self.extra_headers: list[tuple[str, str]] = []
        self.pages: dict[str, tuple[str, bytes]] = {}
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections cut by a test are no news."""

    def kill(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
        for request in list(self._open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def upstream(port: int) -> Iterator[Upstream]:
    """Serve on ``port`` for as long as the block lasts."""
    server = Upstream(port)
    try:
        yield server
    finally:
        server.kill()


@dataclass
class Answer:
    """One answer from a gate; repeated headers are joined."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: list[tuple[str, str]] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)


def knock(
    port: int,
    path: str = "/",
    headers: list[tuple[str, str]] | dict[str, str] | None = None,
    method: str = "GET",
    body: bytes = b"",
) -> Answer:
    """Send one request as it is; headers given as pairs may repeat."""
    pairs = list(headers.items()) if isinstance(headers, dict) else headers or []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    if port in by_tls:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=10, context=by_tls[port]
        )
    try:
        named = any(name == "Host" for name, _ in pairs)
        connection.putrequest(method, path, skip_host=named, skip_accept_encoding=True)
        for name, value in pairs:
            connection.putheader(name, value)
        if body:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body or None)
        response = connection.getresponse()
        raw = response.getheaders()
        return Answer(response.status, {n.lower(): v for n, v in raw}, response.read(), raw)
    finally:
        connection.close()


def open_websocket(
    port: int, path: str = "/ws", headers: list[tuple[str, str]] | None = None
) -> websocket.WebSocket:
    """Open a websocket with exactly these headers and no Origin of its own."""
    return websocket.create_connection(
        f"{'wss' if port in by_tls else 'ws'}://127.0.0.1:{port}{path}",
        sslopt={"context": by_tls[port]} if port in by_tls else None,
        header=[f"{name}: {value}" for name, value in headers or []],
        suppress_origin=True,
        timeout=10,
    )


def knock_websocket(
    port: int, path: str = "/ws", headers: list[tuple[str, str]] | None = None
) -> int:
    """Try a websocket and give the status of the answer; 101 means let in."""
    try:
        open_websocket(port, path, headers).close()
    except websocket.WebSocketBadStatusException as refusal:
        return int(refusal.status_code)
    return OPEN


def echoes(sock: websocket.WebSocket) -> bool:
    """Tell whether this very socket still works."""
    try:
        sock.send("still there?")
        return bool(sock.recv() == "still there?")
    except (OSError, websocket.WebSocketException):
        return False


def is_cut(sock: websocket.WebSocket, timeout_s: float = 5) -> bool:
    """Wait for the other side to end this socket."""
    sock.settimeout(timeout_s)
    try:
        return sock.recv() == ""
    except websocket.WebSocketTimeoutException:
        return False
    except (OSError, websocket.WebSocketException):
        return True
