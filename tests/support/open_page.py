"""A page that somebody has open: it hears what is pushed, and asks for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from manager.web.live import STATE_EVENT
from tests.support.client import Client, live_page_of
from tests.support.closing import Closing
from tests.support.told import Mirror

Json = dict[str, Any]

PING, PONG, JOINED, EVENT = "2", "3", "40", "42"
"""Packets of Engine.IO 4 and Socket.IO 5, as text."""


class OpenPage(Closing):
    """The live connection of a logged-in person's page."""

    def __init__(self, client: Client) -> None:
        """Connect as the page's script does."""
        self._socket = live_page_of(client)

    def events(self, name: str) -> Iterator[Json]:
        """Give what is pushed under a name, as it comes; for ever. See ``heard``."""
        return (content for event, content in self.heard() if event == name)

    def states(self) -> Iterator[Json]:
        """Give the states that the page shows, each as a whole; for ever. See ``heard``."""
        mirror = Mirror(STATE_EVENT)
        shown = (mirror.hear(event, content) for event, content in self.heard())
        return (state for state in shown if state is not None)

    def heard(self) -> Iterator[tuple[str, Json]]:
        """Give what is pushed, with its name, as it comes; for ever.

        Raises:
            WebSocketTimeoutException: nothing at all has come for long.
        """
        while True:
            packet = self._packet()
            if packet == PING:
                self._socket.send(PONG)
            elif packet.startswith(EVENT):
                event, content = json.loads(packet[len(EVENT) :])
                yield event, content
            else:
                assert packet.startswith(JOINED), packet

    def _packet(self) -> str:
        return str(self._socket.recv())

    def close(self) -> None:
        """Close."""
        self._socket.close()
