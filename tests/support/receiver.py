"""A real HTTP server on loopback that takes webhooks' messages, or does what the test wants."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from manager.webhooks.hooks import Hook
from tests.support.closing import Closing


@dataclass(frozen=True)
class Heard:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> dict[str, Any]:
        """Give the JSON object in it."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def query(self) -> dict[str, str]:
        """Give what stands behind the question mark."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}


@dataclass
class Receiver(Closing):
    """Answers each request with ``status`` and ``answer``; ``held`` keeps it from answering."""

    status: int = 200
    answer: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    held: threading.Event | None = None

    def __post_init__(self) -> None:
        """Listen."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                headers = dict(self.headers.items())
                receiver.heard.append(Heard(self.command, self.path, headers, body))
                if receiver.held is not None:
                    receiver.held.wait(120)
                    return
                self.send_response(receiver.status)
                for name, value in receiver.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(receiver.answer.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Give an address with a secret in it."""
        return f"http://127.0.0.1:{self._server.server_port}/robot/send?access_token=S3CRET"

    def hook(self, kind: str = "generic", **values: Any) -> Hook:
        """Make a hook that leads here."""
        given = {"name": "ops", "secret": "", "language": "en", "events": EVERYTHING, **values}
        return Hook(kind=kind, url=self.url, **given)

    def close(self) -> None:
        """Let go of whoever is held, and end."""
        if self.held is not None:
            self.held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)


class _Everything(frozenset[str]):
    def __contains__(self, _name: object) -> bool:
        return True


EVERYTHING = _Everything()
