"""The pages of ``bench.fan_out``: Socket.IO over websocket, in one process, one login each.

Reads a plan (JSON) from its first argument and prints one line when all are open. When a file
``wanted`` lies in the plan's folder it writes ``told``: a line for each page, with the monotonic
moments at which it heard of something.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import aiohttp

from bench.watch_stand_ins import Plan, allow_files, say
from tests.support.client import JOIN
from tests.support.open_page import EVENT, PING, PONG

AT_ONCE = 20
"""Pages that connect at the same time: nobody opens 500 in a moment."""


class Page:
    """One page, and when it heard of something."""

    def __init__(self, plan: Plan, cookie: str, http: aiohttp.ClientSession) -> None:
        """Open nothing yet."""
        self._plan, self._cookie, self._http = plan, cookie, http
        self._news = tuple(f'{EVENT}["{event}",' for event in plan["events"])
        self._listening: asyncio.Task[None] | None = None
        self.heard: list[float] = []

    async def open(self, places: asyncio.Semaphore) -> None:
        """Connect as a page's script does, and listen from then on."""
        url = self._plan["url"].replace("http", "ws", 1)
        headers = {"Origin": self._plan["url"], "Cookie": self._cookie}
        async with places:
            socket = await self._http.ws_connect(
                f"{url}/socket.io/?EIO=4&transport=websocket", headers=headers
            )
            await socket.receive_str()
            await socket.send_str(JOIN)
            answer = await socket.receive_str()
            assert answer.startswith((JOIN, EVENT)), answer
        self._listening = asyncio.create_task(self._listen(socket))

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.data == PING:
                await socket.send_str(PONG)
            elif message.data.startswith(self._news):
                self.heard.append(time.monotonic())

    def is_open(self) -> bool:
        """Tell whether it still listens."""
        return self._listening is not None and not self._listening.done()


async def stay(plan: Plan, http: aiohttp.ClientSession) -> None:
    """Open all pages, and close them when their moments are wanted."""
    places = asyncio.Semaphore(AT_ONCE)
    pages = [Page(plan, cookie, http) for cookie in plan["cookies"]]
    await asyncio.gather(*(page.open(places) for page in pages))
    say({"pages": sum(page.is_open() for page in pages)})
    folder = Path(plan["folder"])
    while not (folder / "wanted").exists():
        await asyncio.sleep(0.2)
    assert all(page.is_open() for page in pages), "a page was closed"
    lines = "\n".join(" ".join(f"{at:.6f}" for at in page.heard) or "-1" for page in pages)
    (folder / "new").write_text(lines, encoding="utf-8")
    (folder / "new").rename(folder / "told")


async def main() -> None:
    """Run the plan."""
    connector = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as http:
        await stay(json.loads(sys.argv[1]), http)


if __name__ == "__main__":
    allow_files()
    asyncio.run(main())
