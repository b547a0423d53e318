"""The open ``/ws`` connections, and who gets which message.

As in ComfyUI (``server.py``, ``websocket_handler``): ``status`` goes to everyone, all else only to
the client that sent the prompt; a second connection with the same id takes over.
"""

from __future__ import annotations

import json
import threading
from typing import Any, Protocol

Json = dict[str, Any]


class Connection(Protocol):
    """What is used of ``simple_websocket.Server``."""

    def send(self, data: str) -> None:
        """Send one text message."""


class Clients:
    """All who listen."""

    def __init__(self, gone: type[Exception]) -> None:
        """Know by which error a connection says that it is closed."""
        self._gone = gone
        self._open: dict[str, Connection] = {}
        # One lock for the table and for sending: messages of a job must not overtake each other.
        self._lock = threading.RLock()

    def join(self, client_id: str, connection: Connection, first: list[tuple[str, Json]]) -> None:
        """Take in a connection and send it its first messages."""
        with self._lock:
            self._open[client_id] = connection
            for kind, data in first:
                self._send_to(client_id, kind, data)

    def leave(self, client_id: str, connection: Connection) -> None:
        """Forget a connection, unless another one took its id over."""
        with self._lock:
            if self._open.get(client_id) is connection:
                del self._open[client_id]

    def send(self, kind: str, data: Json, client_id: str | None) -> None:
        """Send to one client, or to nobody when there is no such client."""
        with self._lock:
            if client_id is not None:
                self._send_to(client_id, kind, data)

    def send_all(self, kind: str, data: Json) -> None:
        """Send to everyone."""
        with self._lock:
            for client_id in list(self._open):
                self._send_to(client_id, kind, data)

    def _send_to(self, client_id: str, kind: str, data: Json) -> None:
        connection = self._open.get(client_id)
        if connection is None:
            return
        try:
            connection.send(json.dumps({"type": kind, "data": data}))
        except (self._gone, OSError):
            del self._open[client_id]
