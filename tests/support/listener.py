"""An open page's live connection: everything that the manager tells one person, as it came."""

from __future__ import annotations

import contextlib
import json
import threading

import websocket

from manager.web.live import STATE_EVENT
from tests.support.client import Client, Json, live_page_of
from tests.support.closing import Closing
from tests.support.told import Mirror

EVENT = "42"
PING, PONG = "2", "3"


class Listener(Closing):
    """Listens until it is closed."""

    def __init__(self, client: Client) -> None:
        """Connect as the page of a logged-in person does."""
        self.heard: list[str] = []
        self._socket = live_page_of(client)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, websocket.WebSocketException):
            while text := str(self._socket.recv()):
                if text == PING:
                    self._socket.send(PONG)
                else:
                    self.heard.append(text)

    def events(self, name: str) -> list[Json]:
        """List what came under a name, the oldest first."""
        decoded = [json.loads(text[len(EVENT) :]) for text in self.heard if text.startswith(EVENT)]
        return [data for event, data in decoded if event == name]

    def states(self) -> list[Json]:
        """List the states that the page showed, each as a whole, the oldest first."""
        mirror = Mirror(STATE_EVENT)
        decoded = [json.loads(text[len(EVENT) :]) for text in self.heard if text.startswith(EVENT)]
        shown = [mirror.hear(event, data) for event, data in decoded]
        return [state for state in shown if state is not None]

    def close(self) -> None:
        """Close the page."""
        self._socket.close()
        self._thread.join(30)
        assert not self._thread.is_alive()
