"""A head of Ray that answers as it is told: for the ways in which a real one cannot be made to."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[socket.socket], object]


def said(content: object, status: str = "200 OK", more: str = "") -> Answer:
    """Answer with JSON, or with bytes as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    def answer(connection: socket.socket) -> None:
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        connection.sendall(head.encode() + body)

    return answer


def raw(content: bytes) -> Answer:
    """Send these bytes and hang up."""
    return lambda connection: connection.sendall(content)


class FakeHead:
    """Answers each question with the next of ``answers``, the last one again and again."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.answers: list[Answer] = [said([])]
        self.asked: list[str] = []
        """Each question as it came, head and body."""

        self.over = threading.Event()
        """Set at the end of the test: who keeps somebody waiting waits for this."""

    @property
    def address(self) -> str:
        host, port = self._listener.getsockname()
        return f"http://{host}:{port}"

    def serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        question = b""
        while b"\r\n\r\n" not in question:
            piece = connection.recv(65536)
            if not piece:
                return
            question += piece
        head, _, body = question.partition(b"\r\n\r\n")
        for line in head.lower().splitlines():
            if line.startswith(b"content-length:"):
                while len(body) < int(line.partition(b":")[2]):
                    body += connection.recv(65536)
        self.asked.append((head + b"\r\n\r\n" + body).decode())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer(connection)


@contextmanager
def fake_head() -> Iterator[FakeHead]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        head = FakeHead(listener)
        thread = threading.Thread(target=head.serve)
        thread.start()
        try:
            yield head
        finally:
            head.over.set()
            # Wakes whoever waits in ``accept``.
            with suppress(OSError), socket.create_connection(listener.getsockname(), 1):
                pass
            thread.join(20)
            assert not thread.is_alive()
