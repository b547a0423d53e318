"""Requests as nobody should send them, for the gates: from one seed always the same ones.

``intruders`` know no token in force: they have the other gate's, or the right one with a flaw.
``carriers`` have it, and hide a second request behind the first (request smuggling).
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass

METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
)
ODD_METHODS = ("get", "Get", "GET\t", "G\x00T", "PRI", "XYZ")
VERSIONS = ("HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "http/1.1", "")
PATHS = (
    "/",
    "/ws?clientId=x",
    "/queue",
    "/api/prompt",
    "/view?filename=a.png",
    "/.gate/in",
    "/.gate/entry",
    "/.gate/tab.js/../../queue",
    "/.gate/..%2fqueue",
    "/%2e%2e/queue",
    "//127.0.0.1/queue",
    "///queue",
    "/queue;/..",
    "/\\queue",
    "/queue\x00",
    "/%00queue",
    "/queue%0d%0aCookie:x",
    "/../../etc/passwd",
    "*",
    "queue",
    "",
    "http://127.0.0.1:{upstream}/queue",
    "http://localhost/queue",
    "https://127.0.0.1:{port}/queue",
    "127.0.0.1:{upstream}",
    "http://user@127.0.0.1:{upstream}/queue",
    "/" + "a" * 9000,
)
HOSTS = (
    "127.0.0.1:{port}",
    "127.0.0.1:{upstream}",
    "localhost",
    "",
    "evil.example",
    "a b",
    "[::1]",
)
LUGGAGE = (
    "X-Forwarded-For: 127.0.0.1",
    "X-Forwarded-Host: 127.0.0.1:{upstream}",
    "X-Real-IP: 127.0.0.1",
    "Forwarded: for=127.0.0.1;host=127.0.0.1",
    "X-Original-URL: /queue",
    "X-Rewrite-URL: /queue",
    "X-HTTP-Method-Override: GET",
    "X-Comfyui-Manager-Secret: {wrong}",
    "X_Comfyui_Manager_Secret: {wrong}",
    "Origin: http://127.0.0.1:{port}",
    "Origin: null",
    "Connection: close, Cookie",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIA",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    "Expect: 100-continue",
    "Range: bytes=0-0",
    "Accept: text/html",
    "Accept-Encoding: gzip",
    "TE: trailers",
    "Service-Worker: script",
    "Content-Length: 5",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: -1",
    "Content-Length: 99999999999999999999",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 4",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: chunked, identity",
    "X-Folded: a\r\n b",
    "No colon at all",
    ": no name",
    "Name with spaces: x",
    "X-Nul: a\x00b",
    "X-Long: " + "y" * 20_000,
    "\r\n".join(f"X-{n}: z" for n in range(200)),
)
BODIES = (
    "",
    "",
    "{}",
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\r\n",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
)
END = ("\r\n", "\r\n", "\r\n", "\n")


FIRST_S = 0.3
REST_S = 10.0


@dataclass(frozen=True)
class Gate:
    """What is aimed at: a door, the name of its token, the token, and another gate's."""

    port: int
    upstream: int
    name: str
    token: str
    other: str


def intruders(gate: Gate, count: int, seed: int) -> Iterator[bytes]:
    """Give requests that must never arrive behind the gate."""
    chance = random.Random(seed)
    for _ in range(count):
        yield _request(gate, chance)


def _request(gate: Gate, chance: random.Random) -> bytes:
    wrong = _wrong(gate, chance)
    lines = [f"Host: {chance.choice(HOSTS)}"] * chance.choice((1, 1, 1, 1, 0, 2))
    lines += chance.sample(LUGGAGE, chance.randint(0, 4))
    lines += _keys(gate, wrong, chance)
    chance.shuffle(lines)
    path = chance.choice(PATHS)
    if chance.random() < 0.4:
        path += ("&" if "?" in path else "?") + _query(gate, wrong, chance)
    first = f"{chance.choice(METHODS + ODD_METHODS)} {path} {chance.choice(VERSIONS)}"
    end = chance.choice(END)
    text = end.join([first, *lines]) + end + end + chance.choice(BODIES)
    for place, value in (("port", gate.port), ("upstream", gate.upstream), ("wrong", wrong)):
        text = text.replace("{" + place + "}", str(value))
    return _bent(text.encode("latin-1"), chance)


def _wrong(gate: Gate, chance: random.Random) -> str:
    at = chance.randrange(len(gate.token))
    changed = "a" if gate.token[at] != "a" else "b"
    return chance.choice(
        (
            gate.token[:at] + changed + gate.token[at + 1 :],
            gate.token[:-1],
            gate.token[1:],
            gate.token + "x",
            "x" + gate.token,
            gate.token[:16] + "\x00" + gate.token[16:],
            gate.token[:16] + " " + gate.token[16:],
            gate.token.swapcase(),
            gate.token[::-1],
            gate.other,
            "",
            "*",
            "{http.request.cookie.token}",
            "123456789",
        )
    )


def _keys(gate: Gate, wrong: str, chance: random.Random) -> list[str]:
    name = chance.choice(
        (gate.name, gate.name, gate.name.upper(), gate.name + "x", "entry_" + gate.name[6:])
    )
    ways = (
        f"Cookie: {name}={wrong}",
        f"Cookie: {name}={wrong}; {name}={wrong}",
        f"cookie:{name}={wrong}",
        f"Cookie: a=b; {name} = {wrong}",
        f'Cookie: {name}="{wrong}"',
        f"Cookie: {name}={wrong}\r\nCookie: {name}=",
        f"Cookie2: {name}={wrong}",
        f"Authorization: Bearer {wrong}",
        f"Authorization: bearer {wrong}\r\nAuthorization: Bearer {wrong}",
        f"Authorization: Basic {wrong}",
        f"Proxy-Authorization: Bearer {wrong}",
    )
    return chance.sample(ways, chance.choice((0, 1, 1, 2)))


def _query(gate: Gate, wrong: str, chance: random.Random) -> str:
    return chance.choice(
        (
            f"{gate.name}={wrong}",
            f"{gate.name}={wrong}&{gate.name}={wrong}",
            f"{gate.name}",
            f"{gate.name}[]={wrong}",
            f"%74oken_{gate.name[6:]}={wrong}",
            f";{gate.name}={wrong}",
            f"x={gate.name}={wrong}",
            f"{gate.name}=%00{wrong}",
        )
    )


def _bent(raw: bytes, chance: random.Random) -> bytes:
    """Now and then cut a request, or change one of its bytes, or speak HTTP/2 at once."""
    fate = chance.random()
    if fate < 0.02:
        return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + raw
    if fate < 0.06:
        return raw[: chance.randrange(len(raw))]
    if fate < 0.12:
        at = chance.randrange(len(raw))
        return raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
    return raw


def carriers(gate: Gate) -> Iterator[bytes]:
    """Give requests with the token that hide another one without it, in every known way."""
    hidden = f"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1:{gate.port}\r\n\r\n"
    size = len(hidden)
    ways = (
        (f"Content-Length: {size}\r\nTransfer-Encoding: chunked", f"0\r\n\r\n{hidden}"),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked", f"{size:x}\r\n{hidden}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\nContent-Length: 5", f"0\r\n\r\n{hidden}"),
        ("Transfer-Encoding : chunked\r\nContent-Length: 5", f"0\r\n\r\n{hidden}"),
        ("Transfer-Encoding:\tchunked\r\nContent-Length: 5", f"0\r\n\r\n{hidden}"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\nContent-Length: 5",
            f"0\r\n\r\n{hidden}",
        ),
        ("X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5", f"0\r\n\r\n{hidden}"),
        ("Content-Length: 0\r\nContent-Length: " + str(size), hidden),
        ("Content-Length: +0", hidden),
        ("Content-Length: 0, " + str(size), hidden),
        ("Content-Length:\x0b0", hidden),
        ("Transfer-Encoding: chunked", f"0;a=\r\n{hidden}\r\n\r\n{hidden}"),
        ("Transfer-Encoding: chunked", f"0\n\r\n{hidden}"),
        ("Transfer-Encoding: chunked", f"0\r\nContent-Length: 9\r\n\r\n{hidden}"),
        ("Transfer-Encoding: chunked", f"-1\r\n\r\n{hidden}"),
        ("Transfer-Encoding: chunked", f"0x0\r\n\r\n{hidden}"),
        ("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", f"0\r\n\r\n{hidden}"),
        ("Connection: Content-Length\r\nContent-Length: " + str(size), hidden),
        ("Expect: 100-continue\r\nContent-Length: 0", hidden),
        ("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk", hidden),
        ("Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 777", hidden),
        ("X-A: b\r\n\r\nGET /smuggled HTTP/1.1\r\nX-C: d", ""),
    )
    for number, (headers, body) in enumerate(ways):
        for method in ("GET", "POST", "HEAD"):
            head = f"{method} /carrier/{number} HTTP/1.1\r\nHost: 127.0.0.1:{gate.port}\r\n"
            key = f"Cookie: {gate.name}={gate.token}\r\nAuthorization: Bearer {gate.token}\r\n"
            yield f"{head}{key}{headers}\r\n\r\n{body}".encode("latin-1")


def send(port: int, raw: bytes) -> bytes:
    """Send bytes as they are and give what came back until the other side was done.

    The end of what is sent is told only after the first answer: it would end a request under way.
    """
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        try:
            sock.sendall(raw)
            sock.settimeout(FIRST_S)
            got = sock.recv(65536)
        except OSError:
            pass
        try:
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(REST_S)
            while piece := sock.recv(65536):
                got += piece
        except OSError:
            pass
    return got
