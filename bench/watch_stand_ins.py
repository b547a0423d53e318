"""Stand-ins for ``bench.watch_cost``: one process that answers for as many ComfyUI as are wanted.

What they cost is not measured, so they only hand out what was made before.
"""

from __future__ import annotations

import asyncio
import functools
import json
import resource
import sys
from typing import Any

from manager.records import PROGRESS_PATH

Plan = dict[str, Any]

GRAPH_BYTES = 200_000

DIGITS = b"1000000000"
"""What is another number each time in the queue that changes."""


def say(content: object) -> None:
    """Print one line."""
    print(json.dumps(content), flush=True)


def allow_files() -> None:
    """Let this process have as many connections as the system lets it."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def graph(size: int) -> dict[str, Any]:
    """Make a prompt graph of about so many bytes of JSON."""
    node = {
        "inputs": {"seed": 1, "steps": 20, "model": ["4", 0], "text": "a photo of a cat, " * 12},
        "class_type": "KSampler",
        "_meta": {"title": "KSampler"},
    }
    return {str(n): node for n in range(size // len(json.dumps(node)))}


def queue(kind: str) -> bytes:
    """Give the body of ``GET /queue``."""
    if kind == "idle":
        return b'{"queue_running": [], "queue_pending": []}'
    job = [int(DIGITS), "id", graph(GRAPH_BYTES), {"client_id": "x"}, ["9"]]
    return json.dumps({"queue_running": [job], "queue_pending": []}).encode()


def remaining(jobs: int) -> bytes:
    """Give the body of ``GET /prompt``."""
    return json.dumps({"exec_info": {"queue_remaining": jobs}}).encode()


def progress(step: int) -> bytes:
    """Give the body of the question how far the work is; each time another step."""
    work = {"prompt_id": "id", "task": 0, "seconds": 9.0, "finished": 3, "nodes": 9, "node": "9"}
    names = {"class_type": "KSampler", "title": "KSampler"}
    return json.dumps({**work, **names, "value": float(step % 20), "max": 20.0}).encode()


def framed(body: bytes) -> bytes:
    """Frame a body as aiohttp does."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Content-Length: %d\r\nDate: Tue, 24 Nov 2026 00:00:00 GMT\r\n"
        b"Server: Python/3.11 aiohttp/3.14.5\r\n\r\n" % len(body)
    ) + body


class StandIn(asyncio.Protocol):
    """One connection to one ComfyUI that has always the same in its queue, or never."""

    def __init__(self, kind: str, answer: bytes) -> None:
        """Answer ``answer`` to who asks for the queue."""
        self._changing = kind == "changing"
        self._answer = answer
        self._jobs = framed(remaining(int(kind != "idle")))
        self._history = framed(b"{}")
        self._steps = 0
        self._count = int(DIGITS)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the other end."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer one question."""
        assert self._transport is not None
        self._transport.write(self._said(data))

    def _said(self, question: bytes) -> bytes:
        if b" /history" in question:
            return self._history
        if PROGRESS_PATH.encode() in question:
            self._steps += 1
            return framed(progress(self._steps))
        if not self._changing:
            return self._jobs if b" /prompt" in question else self._answer
        self._count += 1
        if b" /prompt" in question:
            return framed(remaining(self._count))
        return self._answer.replace(DIGITS, b"%d" % self._count, 1)


async def serve(plan: Plan) -> None:
    """Stand for N instances, each on a port of its own, until the standard input ends."""
    loop = asyncio.get_running_loop()
    answer = framed(queue(plan["kind"]))
    servers = [
        await loop.create_server(functools.partial(StandIn, plan["kind"], answer), "127.0.0.1", 0)
        for _ in range(plan["instances"])
    ]
    say({"ports": [server.sockets[0].getsockname()[1] for server in servers]})
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    allow_files()
    asyncio.run(serve(json.loads(sys.argv[1])))
