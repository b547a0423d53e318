"""What refuses before the application, too, carries the headers, and nothing twice."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

from manager.answer_headers import HEADERS
from manager.green_http import _Headed
from manager.web.behind import BehindCaddy
from manager.web.headed import App, Headed
from manager.web.turnstile import Turnstile


class NoSockets:
    """Socket.IO without a connection."""

    class server:  # noqa: N801 - as it is called there
        environ: dict[str, Any] = {}  # noqa: RUF012


def ask(app: App, path: str = "/") -> tuple[str, list[tuple[str, str]]]:
    told: list[tuple[str, list[tuple[str, str]]]] = []
    environ = {"REMOTE_ADDR": "10.0.0.1", "PATH_INFO": path, "QUERY_STRING": ""}
    list(Headed(app)(environ, lambda status, headers: told.append((status, headers))))
    return told[0]


def plain(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("content-security-policy", "sandbox"), ("Cache-Control", "x")])
    return [b""]


def test_what_an_answer_says_itself_stays() -> None:
    _status, headers = ask(plain)
    assert [v for n, v in headers if n.lower() == "content-security-policy"] == ["sandbox"]
    assert [v for n, v in headers if n == "Cache-Control"] == ["x"]
    assert ("X-Content-Type-Options", "nosniff") in headers


def test_a_stranger_behind_caddy_gets_them() -> None:
    status, headers = ask(BehindCaddy(plain, "s" * 32))
    assert status.startswith("403")
    assert set(HEADERS.items()) <= set(headers)
    assert ("Content-Type", "text/plain; charset=utf-8") in headers


def test_one_too_many_gets_them() -> None:
    turnstile = Turnstile(plain, 1, NoSockets())  # type: ignore[arg-type]
    turnstile._crowd.enter("10.0.0.1")
    for path in ("/", "/api/user/state"):
        status, headers = ask(turnstile, path)
        assert status.startswith("503")
        assert set(HEADERS.items()) <= set(headers)
        assert ("Cache-Control", "no-store") in headers


def test_what_the_server_says_by_itself_gets_them() -> None:
    for said, headed in (
        (b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 414 Request URI Too Long\r\n\r\n", True),
        (b"HTTP/1.1 400 BAD REQUEST\r\n\r\n", False),
        (b"a picture", False),
    ):
        file = io.BytesIO()
        _Headed(file).write(said)
        assert (b"nosniff\r\n" in file.getvalue()) is headed
