"""A page in the browser that is told by the test alone, whatever the manager has to say."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import Page, WebSocketRoute

from manager.web.live import STATE_EVENT

Json = dict[str, Any]

_FAR_AHEAD = 10**15
"""A revision that no page has heard of yet, so that it takes every state for news."""


class ListeningPage:
    """A user's page, cut off from the manager's live connection from its next opening on."""

    def __init__(self, page: Page) -> None:
        """Have the page connect to this in the manager's place."""
        self._page = page
        self._opened: list[WebSocketRoute] = []
        self._told = 0
        page.route_web_socket("**/socket.io/**", self._take)

    def _take(self, socket: WebSocketRoute) -> None:
        self._opened.append(socket)

        def hear(message: str | bytes) -> None:
            if message == "40":
                socket.send('40{"sid":"here"}')

        socket.on_message(hear)
        socket.send('0{"sid":"here","upgrades":[],"pingInterval":250000,"pingTimeout":200000}')

    def tell(self, state: Json) -> None:
        """Give the page a whole state, and wait until it shows it."""
        told = {**state, "revision": _FAR_AHEAD + self._told, "sequence": self._told}
        self._told += 1
        self._page.evaluate("document.title = ''")
        self._opened[-1].send("42" + json.dumps([STATE_EVENT, told]))
        self._page.wait_for_function("document.title !== ''")
