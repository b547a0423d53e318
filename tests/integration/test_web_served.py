"""What only the running server shows: its socket, its origins on the wire, its end."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import websocket

from manager import settings
from manager.answer_headers import HEADERS
from manager.errors import SettingsError
from manager.web import assets
from manager.web.serve import listen
from tests.support.ports import free_port
from tests.support.server import LOOPBACK, ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=["eventlet", "threading"])
def manager(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ManagerProcess]:
    with ManagerProcess(tmp_path_factory.mktemp("served"), mode=request.param) as running:
        yield running


def _socket(manager: ManagerProcess, origin: str) -> str:
    """Open the live connection as a page of ``origin`` would; give the server's first packet."""
    opened = websocket.create_connection(
        f"ws://{LOOPBACK}:{manager.port}/socket.io/?EIO=4&transport=websocket",
        origin=origin,
        timeout=10,
    )
    try:
        return str(opened.recv())
    finally:
        opened.close()


def test_a_page_of_our_own_may_listen(manager: ManagerProcess) -> None:
    assert _socket(manager, manager.url).startswith("0{")


def test_a_workspace_on_another_port_may_not_listen(manager: ManagerProcess) -> None:
    for origin in (f"http://{LOOPBACK}:{manager.workspace_ports[0]}", "http://evil.test", "null"):
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            _socket(manager, origin)
        assert refused.value.status_code == 400


def test_a_page_of_our_own_without_a_login_hears_nothing(manager: ManagerProcess) -> None:
    opened = websocket.create_connection(
        f"ws://{LOOPBACK}:{manager.port}/socket.io/?EIO=4&transport=websocket",
        origin=manager.url,
        timeout=10,
    )
    try:
        opened.recv()
        opened.send("40")
        assert opened.recv() == '44{"message":"not_authenticated"}'
    finally:
        opened.close()


def test_a_huge_body_is_refused_and_the_server_goes_on(manager: ManagerProcess) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, manager.port, timeout=10)
    try:
        connection.putrequest("POST", "/login")
        connection.putheader("Origin", manager.url)
        connection.putheader("Content-Type", "application/x-www-form-urlencoded")
        connection.putheader("Content-Length", str(200_000))
        connection.endheaders()
        connection.send(b"username=" + b"x" * (200_000 - 9))
        assert connection.getresponse().status == 413
    finally:
        connection.close()
    assert manager.health()


def test_nothing_but_the_address_is_printed(manager: ManagerProcess) -> None:
    # It answers before Caddy does, and prints after.
    printed = wait_until(lambda: manager.output_path.read_text(encoding="utf-8"), what="a line")
    assert printed == f"ComfyUI Multi-User Manager: {manager.url}\n"


def test_a_refused_origin_stands_in_the_log(manager: ManagerProcess) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException):
        _socket(manager, "http://logged.test")
    assert "not an accepted origin" in manager.log_path.read_text(encoding="utf-8")


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = ManagerProcess(tmp_path / "one", settings={"MANAGER_PORT": str(port)})
        answer = refused.run("serve")
    assert answer.returncode == 2
    assert f"MANAGER_PORT = {port}" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert refused.processes() == []


def test_an_address_of_another_machine_is_said(tmp_path: Path) -> None:
    # TEST-NET-1 of RFC 5737: nobody has it.
    environ = {"MANAGER_HOST": "192.0.2.1", "MANAGER_PORT": str(free_port())}
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):
        listen(settings.load(environ, root=tmp_path))


def asked(manager: ManagerProcess, *pieces: bytes) -> tuple[bytes, str]:
    """Send bytes as nobody's browser would; give the status line and the head in lower case."""
    with socket.create_connection((LOOPBACK, manager.port), 20) as opened:
        for piece in pieces:
            opened.sendall(piece)
        answer = b""
        while b"\r\n\r\n" not in answer:
            if not (more := opened.recv(65_536)):
                break
            answer += more
    head = answer.partition(b"\r\n\r\n")[0]
    return head.split(b"\r\n")[0], head.decode("latin-1").lower()


HEAD = b"Host: x\r\nConnection: close\r\n\r\n"
ANSWERS = {
    "a page": (b"GET /login HTTP/1.1\r\n" + HEAD, b" 200 "),
    "led elsewhere": (b"GET / HTTP/1.1\r\n" + HEAD, b" 302 "),
    "an error page": (b"GET /nothing HTTP/1.1\r\n" + HEAD, b" 404 "),
    "a refusal of the API": (b"GET /api/nothing HTTP/1.1\r\n" + HEAD, b" 404 "),
    "no own page": (b"POST /login HTTP/1.1\r\nContent-Length: 0\r\n" + HEAD, b" 403 "),
    "a script": (f"GET {assets.address()}/js/lib/api.js HTTP/1.1\r\n".encode() + HEAD, b" 200 "),
    "an own method": (b"BREW /login HTTP/1.1\r\n" + HEAD, b" 403 "),
    "Socket.IO, nonsense": (b"GET /socket.io/ HTTP/1.1\r\n" + HEAD, b" 400 "),
    "Socket.IO, a foreign page": (
        b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nOrigin: http://evil.test\r\n" + HEAD,
        b" 400 ",
    ),
    "Socket.IO, the first packet": (
        b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nOrigin: http://x\r\n" + HEAD,
        b" 200 ",
    ),
    "no request": (b"nonsense\r\n\r\n", b" 400 "),
    "no version": (b"GET /login\r\n\r\n", b" 200 "),
    "no version of HTTP": (b"GET / HTTP/x\r\n" + HEAD, b" 400 "),
    "a version to come": (b"GET / HTTP/9.0\r\n" + HEAD, b" 505 "),
    "an address without an end": (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HEAD, b" 414 "),
}
EVENTLETS = {
    "a length that is none": (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n" + HEAD, b" 400 "),
    "two lengths": (
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n" + HEAD,
        b" 400 ",
    ),
    "a line without an end": (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", b" 400 "),
    "a head without an end": (
        b"GET / HTTP/1.1\r\n" + b"X: %s\r\n" % (b"x" * 7_000) * 12 + b"\r\n",
        b" 400 ",
    ),
}


@pytest.mark.parametrize("kind", [*ANSWERS, *EVENTLETS])
def test_every_kind_of_answer_carries_the_headers(manager: ManagerProcess, kind: str) -> None:
    sent, status = (ANSWERS | EVENTLETS)[kind]
    if kind in EVENTLETS and manager.env["ASYNC_MODE"] != "eventlet":
        # Werkzeug's server hands it on, as a request like any other.
        status = b" "
    line, head = asked(manager, sent)
    assert status in line + b" ", line
    for name, value in HEADERS.items():
        assert head.count(f"\r\n{name}: {value}".lower()) == 1, (name, head)


def test_who_is_one_too_many_is_told_so_with_the_headers(tmp_path: Path) -> None:
    settings_of_few = {"CONNECTIONS_PER_ADDRESS": "2"}
    with (
        ManagerProcess(tmp_path, settings=settings_of_few) as manager,
        socket.create_connection((LOOPBACK, manager.port), 20) as one,
        socket.create_connection((LOOPBACK, manager.port), 20) as other,
    ):
        # Both are in once they are answered.
        for opened in (one, other):
            opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert opened.recv(64).startswith(b"HTTP/1.1 200")
        line, head = asked(manager)
    assert b" 503 " in line
    assert all(f"{name}: {value}".lower() in head for name, value in HEADERS.items())
