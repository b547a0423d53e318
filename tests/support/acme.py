"""An authority that gives certificates by ACME, for tests: a second, real Caddy on loopback.

It asks at port 80 of a name, as every authority does. In place of the name server and router there
is a small HTTP proxy, which Caddy takes for this question: it leads the name's port 80 to another
port of loopback. Authority, question, answer and certificate are real.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from manager.gate.program import find_program
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

CADDYFILE = """{{
	admin off
	persist_config off
	auto_https disable_redirects
	skip_install_trust
	storage file_system "{folder}/store"
	default_sni localhost
}}
https://localhost:{port} {{
	bind 127.0.0.1
	tls internal
	acme_server {{
		challenges http-01
	}}
}}
"""


class _Forward(BaseHTTPRequestHandler):
    server: Way

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        self.server.asked.append(self.path)
        status, body = 502, b""
        with contextlib.suppress(OSError):
            to = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=10)
            to.request("GET", asked.path, headers={"Host": asked.netloc})
            answer = to.getresponse()
            status, body = answer.status, answer.read()
            to.close()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Keep the tests' output quiet."""


class Way(ThreadingHTTPServer):
    """The way from port 80 of any name to ``to``; ``asked`` is what came along."""

    daemon_threads = True

    def __init__(self, to: int, asked: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.to = to
        self.asked = asked


class Authority:
    """``directory`` and ``root`` are what a client has to know; ``asked`` is what it has asked."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.port, self.http_port, self.alpn_port = free_ports(3)
        self.directory = f"https://localhost:{self.port}/acme/local/directory"
        self.root = folder / "store/pki/authorities/local/root.crt"
        self.asked: list[str] = []
        text = CADDYFILE.format(folder=folder, port=self.port)
        (folder / "Caddyfile").write_text(text, encoding="ascii")

    def settings(self, name: str) -> dict[str, str]:
        """Give the settings of a manager that has its certificate from here."""
        return {
            "TLS": "domain",
            "EXTERNAL_IP": name,
            "TLS_ACME_CA": self.directory,
            "TLS_ACME_ROOT": str(self.root),
            "TLS_HTTP_PORT": str(self.http_port),
            "TLS_ALPN_PORT": str(self.alpn_port),
        }

    def serves(self) -> bool:
        """Tell whether it answers."""
        if not self.root.exists():
            return False
        context = ssl.create_default_context(cafile=str(self.root))
        asked = http.client.HTTPSConnection("localhost", self.port, timeout=5, context=context)
        try:
            asked.request("GET", "/acme/local/directory")
            return asked.getresponse().status == 200
        except OSError:
            return False
        finally:
            asked.close()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run it for as long as the block lasts; once more it is the same authority."""
        way = Way(self.http_port, self.asked)
        thread = threading.Thread(target=way.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        environ = {
            **os.environ,
            "XDG_DATA_HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
            "HTTP_PROXY": f"http://127.0.0.1:{way.server_address[1]}",
        }
        words = [str(find_program("")), "run", "--config", str(self.folder / "Caddyfile")]
        with (self.folder / "log").open("ab") as log:
            caddy = subprocess.Popen(words, env=environ, stdout=log, stderr=log)
        try:
            wait_until(self.serves, what="the authority answers")
            yield
        finally:
            caddy.terminate()
            caddy.wait(30)
            way.shutdown()
            way.server_close()
            thread.join()
