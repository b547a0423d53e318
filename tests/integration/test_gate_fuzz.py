"""Nothing arrives behind a gate without its token, whatever is sent; slow clients hold nobody up.

``GATE_FUZZ`` is the number of requests to each of the two doors, ``GATE_FUZZ_SEED`` which ones.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from manager.gate.gate import new_token
from manager.settings import ROOT
from tests.support import gate_fuzz
from tests.support.gate import (
    Upstream,
    echoes,
    knock,
    open_websocket,
    opening,
    project,
    running_gate,
    upstream,
)
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

REQUESTS = int(os.environ.get("GATE_FUZZ", "10000"))
SEED = int(os.environ.get("GATE_FUZZ_SEED", "1"))
AT_ONCE = 16

Doors = tuple[list[gate_fuzz.Gate], Upstream]


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    of = project(tmp_path_factory.mktemp("fuzz"), rows=2)
    row, other = of.ports
    tokens = {row.port: new_token(), other.port: new_token()}
    with running_gate(of) as gate, upstream(row.port) as behind, upstream(other.port):
        gate.apply({port: opening(port, token) for port, token in tokens.items()})
        name, token = f"token_{row.port}", tokens[row.port]
        aims = [
            gate_fuzz.Gate(port, row.port, name, token, tokens[other.port])
            for port in (row.workspace_port, row.external_port)
        ]
        yield aims, behind


def all_of(port: int, raws: list[bytes]) -> list[bytes]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda raw: gate_fuzz.send(port, raw), raws))


def test_nothing_arrives_without_the_token(doors: Doors) -> None:
    aims, behind = doors
    behind.seen.clear()
    for aim in aims:
        raws = list(gate_fuzz.intruders(aim, REQUESTS, SEED))
        answers = all_of(aim.port, raws)
        assert behind.seen == []
        told = {
            raw: answer.split(b" ")[1]
            for raw, answer in zip(raws, answers, strict=True)
            if answer.startswith(b"HTTP/1.")
        }
        assert set(told.values()) >= {b"400", b"403"}
        let_in = [raw for raw, status in told.items() if status in {b"101", b"200", b"302", b"502"}]
        # What the server says itself to «OPTIONS *».
        assert [raw for raw in let_in if raw[:10] != b"OPTIONS * "] == []
    for aim in aims:
        keys = {"Cookie": f"{aim.name}={aim.token}", "Authorization": f"Bearer {aim.token}"}
        assert knock(aim.port, "/queue", keys).status == 200, "the gate still opens"


def test_no_second_request_hides_behind_the_first(doors: Doors) -> None:
    aims, behind = doors
    behind.seen.clear()
    for aim in aims:
        all_of(aim.port, list(gate_fuzz.carriers(aim)))
    paths = [seen["path"] for seen in behind.seen]
    assert paths, "some of the carriers themselves are fine"
    assert [path for path in paths if not path.startswith("/carrier/")] == []


def test_slow_clients_are_cut_and_slow_work_is_not(tmp_path: Path) -> None:
    of = project(tmp_path, rows=1)
    shipped = (ROOT / "Caddyfile").read_text(encoding="utf-8")
    assert "read_header 20s" in shipped
    # The same with less patience, so that the test is over sooner.
    of.caddyfile.write_text(shipped.replace("read_header 20s", "read_header 1s"), encoding="utf-8")
    row, token = of.ports[0], new_token()
    key = [("Cookie", f"token_{row.port}={token}")]
    with running_gate(of) as gate, upstream(row.port):
        gate.apply({row.port: opening(row.port, token)})
        working = open_websocket(row.workspace_port, headers=key)
        uploading = socket.create_connection(("127.0.0.1", row.workspace_port), timeout=30)
        head = f"POST /upload HTTP/1.1\r\nHost: a\r\nCookie: {key[0][1]}\r\nContent-Length: 20\r\n"
        uploading.sendall(f"{head}Connection: close\r\n\r\n0123456789".encode())
        slow = [socket.create_connection(("127.0.0.1", row.workspace_port)) for _ in range(300)]
        for sock in slow:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        assert knock(row.workspace_port, "/queue", key).status == 200, "while they dawdle"
        left = list(slow)

        def all_cut() -> bool:
            left[:] = [sock for sock in left if not _is_cut(sock)]
            return not left

        wait_until(all_cut, 30, "who does not finish the header is cut")
        assert echoes(working), "a websocket that was quiet meanwhile"
        uploading.sendall(b"0123456789")
        assert uploading.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        uploading.close()
        working.close()
        for sock in slow:
            sock.close()


def _is_cut(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        return sock.recv(4096) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def test_a_header_larger_than_anybody_needs_is_refused(doors: Doors) -> None:
    """By Caddy's own limit, which an option in the shipped file could only raise."""
    aims, behind = doors
    for aim in aims:
        behind.seen.clear()
        usual = {"Cookie": f"{aim.name}={aim.token}", "Authorization": f"Bearer {aim.token}"}
        assert knock(aim.port, "/queue", {**usual, "X-Large": "x" * 8_000}).status == 200
        behind.seen.clear()
        keys = f"Cookie: {aim.name}={aim.token}\r\nAuthorization: Bearer {aim.token}\r\n"
        large = "".join(f"X-Large-{n}: {'x' * 36_000}\r\n" for n in range(2))
        head = f"GET /queue HTTP/1.1\r\nHost: a\r\n{keys}{large}\r\n"
        answer = gate_fuzz.send(aim.port, head.encode())
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")
        assert behind.seen == []
