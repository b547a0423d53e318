"""Behind Caddy: nobody else is answered, and nobody names an address but Caddy."""

from __future__ import annotations

import dataclasses
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from manager import launching, settings
from manager.errors import SettingsError
from manager.gate.page import listen, secret_from, socket_path
from manager.web.behind import BehindCaddy
from tests.support.ports import free_port

SECRET = secret_from("a" * 32)


def ask(headers: dict[str, str]) -> tuple[str, dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    told: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seen.append(environ)
        start_response("200 OK", [])
        return []

    environ = {"REMOTE_ADDR": "unix", "wsgi.url_scheme": "http", **headers}
    BehindCaddy(app, SECRET)(environ, lambda status, _headers: told.append(status))
    return told[0], seen[0] if seen else {}


def caddys(address: str, secret: str = SECRET) -> dict[str, str]:
    return {"HTTP_X_COMFYUI_MANAGER_SECRET": secret, "HTTP_X_FORWARDED_FOR": address}


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "fe80::1%eth0"])
def test_the_visitor_is_whom_caddy_names(address: str) -> None:
    status, environ = ask(caddys(address))
    assert status == "200 OK"
    assert (environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]) == (address, "https")
    assert SECRET not in environ.values()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"HTTP_X_FORWARDED_FOR": "192.0.2.7"},
        caddys("192.0.2.7", ""),
        caddys("192.0.2.7", "x" * 32),
        caddys("192.0.2.7", f"{SECRET},{SECRET}"),
        caddys("192.0.2.7", "\u00fc"),
        caddys(""),
        caddys("192.0.2.7, 192.0.2.8"),
        caddys("192.0.2.7,192.0.2.8"),
        caddys("unix"),
    ],
)
def test_anybody_else_is_refused(headers: dict[str, str]) -> None:
    status, environ = ask(headers)
    assert status == "403 Forbidden"
    assert environ == {}


def test_a_port_of_another_program_is_refused_before_anything_is_begun(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environ = {"TLS": "internal", "MANAGER_HOST": "127.0.0.1", "MANAGER_PORT": str(port)}
        with pytest.raises(SettingsError, match=f"MANAGER_PORT = {port} .* cannot be listened on"):
            listen(settings.load(environ, root=tmp_path))
    assert not (tmp_path / "data").exists()


def test_the_socket_is_for_this_account_alone_however_long_its_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    of = settings.load({"TLS": "internal", "MANAGER_PORT": str(free_port())}, root=folder)
    for _again in range(2):
        listen(of).close()
        path = socket_path(of)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_key_of_the_certificate_is_hidden_from_users_code(tmp_path: Path) -> None:
    of = settings.load({"TLS": "files", "TLS_KEY": "/etc/lab/key.pem"}, root=tmp_path)
    assert Path("/etc/lab/key.pem") in launching.ours(of)
    assert Path("/etc/lab/key.pem") not in launching.ours(dataclasses.replace(of, tls="off"))
