"""The bare broadcaster that ``bench.fan_out`` compares with: the same bytes to every page.

It speaks as much of Socket.IO as a client needs, over websocket, and knows nothing of logins, views
or databases. On a signal it sends to everybody. Prints one line, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

from aiohttp import web

from bench.watch_stand_ins import allow_files, say

DIFFERENCE = ("state_diff", {"cards": {"free": 3, "reserved": 1}, "revision": 1, "sequence": 1})
"""What a page is told of such a change, in size."""

OPEN = '0{"sid":"s","upgrades":[],"pingTimeout":20000,"pingInterval":25000}'
JOINED = '40{"sid":"s"}'
WANTED = signal.SIGUSR1


class Broadcaster:
    """The connections, and what is sent to them."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._pages: set[web.WebSocketResponse] = set()
        self._text = "42" + json.dumps(DIFFERENCE, separators=(",", ":"))

    async def admit(self, request: web.Request) -> web.WebSocketResponse:
        """Take a page in and keep it until it goes."""
        page = web.WebSocketResponse(compress=False)
        await page.prepare(request)
        await page.send_str(OPEN)
        async for message in page:
            if message.data == "40":
                await page.send_str(JOINED)
                self._pages.add(page)
        self._pages.discard(page)
        return page

    async def tell(self) -> None:
        """Send to everybody."""
        for page in list(self._pages):
            if not page.closed:
                await page.send_str(self._text)


async def serve() -> None:
    """Serve until the standard input ends."""
    loop, broadcaster = asyncio.get_running_loop(), Broadcaster()
    app = web.Application()
    app.router.add_get("/socket.io/", broadcaster.admit)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    tasks: set[asyncio.Task[None]] = set()

    def tell() -> None:
        task = loop.create_task(broadcaster.tell())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(WANTED, tell)
    port = runner.addresses[0][1]
    say({"url": f"http://127.0.0.1:{port}", "pid": os.getpid(), "signal": int(WANTED)})
    await loop.run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    allow_files()
    asyncio.run(serve())
