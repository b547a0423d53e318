"""A server on a port of its own that answers as a test says, well or badly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from manager.comfyui import ComfyUI
from manager.records import Address


class Talker:
    """A server whose answer is a function of the socket; counts connections and requests."""

    def __init__(self, talk: Callable[[socket.socket], object]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self.listener.getsockname()[1])
        self.requests: list[bytes] = []
        self.connections = 0
        self.done = threading.Event()
        self._talk = talk
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                while request := connection.recv(65536):
                    self.requests.append(request)
                    self._talk(connection)
            except OSError:
                return

    def close(self) -> None:
        self.done.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads:
            thread.join(15)
            assert not thread.is_alive()


def http_answer(body: bytes, status: str = "200 OK") -> bytes:
    """Frame a body."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def talking(talk: Callable[[socket.socket], object]) -> Iterator[tuple[Talker, ComfyUI]]:
    """Have a server that answers like this, and who asks it."""
    talker, comfyui = Talker(talk), ComfyUI(4)
    try:
        yield talker, comfyui
    finally:
        comfyui.close()
        talker.close()
