"""The bare poller that ``bench.watch_cost`` compares with, and how both are timed.

It asks what the watch asks, parses what has changed only, and does nothing with it: no thread, no
database, no look at a process. Reads a plan (JSON) from its first argument and prints one line.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import statistics
import sys
import time

from bench.watch_stand_ins import Plan, allow_files, say
from manager.comfyui import LONG_BYTES, WHOLE_S
from manager.records import GUARD_HEADER

WARM_S = 3.0
WARM_EACH_S = 0.01
"""Before the measuring: connections are made and places in the second found."""

SECRET = "s" * 32


class Beats:
    """When each instance was asked, and the processor time of the process meanwhile."""

    def __init__(self, plan: Plan) -> None:
        """Measure for as long as is planned, once it is warm."""
        self._seconds: float = plan["seconds"]
        self._warm_s = WARM_S + WARM_EACH_S * len(plan["ports"])
        self._starts: dict[int, list[float]] = {}
        self._cpu = 0.0
        self.restart()

    def restart(self) -> None:
        """Begin anew to get warm."""
        self._begun = time.monotonic() + self._warm_s

    def note(self, port: int) -> None:
        """Note that a check of a port begins."""
        now = time.monotonic()
        if now >= self._begun and not self.over():
            self._starts.setdefault(port, []).append(now)

    def warm(self) -> None:
        """Wait until the measuring begins."""
        time.sleep(max(0.0, self._begun - time.monotonic()))

    def measure(self) -> None:
        """Wait for the length of the measurement."""
        self.warm()
        before = time.process_time()
        time.sleep(self._seconds)
        self._cpu = time.process_time() - before

    def over(self) -> bool:
        """Tell whether the measurement is over."""
        return time.monotonic() > self._begun + self._seconds

    def report(self) -> dict[str, float]:
        """Give the checks, the processor seconds and how late checks were, in seconds.

        How late is judged by each instance's own grid of one second, laid through its earliest.
        """
        late, checks, longest = [0.0, 0.0], 0, 0.0
        for starts in self._starts.values():
            checks += len(starts)
            past = [(at - starts[0] + 0.5) % 1.0 - 0.5 for at in starts]
            late += [one - min(past) for one in past]
            longest = max([longest, *(b - a for a, b in itertools.pairwise(starts))])
        return {
            "checks": checks,
            "cpu": self._cpu,
            "p50": statistics.median(late),
            "p99": statistics.quantiles(late, n=100, method="inclusive")[98],
            "max": max(late),
            "longest_gap": longest,
        }


class Poller:
    """One instance, asked over one connection."""

    def __init__(self, port: int, beats: Beats) -> None:
        """Begin with nothing known."""
        self._port, self._beats = port, beats
        self._queue, self._whole_at, self._jobs = b"", float("-inf"), -1
        self._whole_after = WHOLE_S * (1 - port % 8 / 16)

    async def run(self, due: float) -> None:
        """Ask each second from ``due`` on."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        while not self._beats.over():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._beats.note(self._port)
            await self._check(reader, writer)
            due += 1.0
        writer.close()

    async def _check(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._queue) >= LONG_BYTES and time.monotonic() - self._whole_at < self._whole_after:
            said = json.loads(await ask(reader, writer, "/prompt"))
            if said["exec_info"]["queue_remaining"] == self._jobs:
                return
        body = await ask(reader, writer, "/queue")
        self._whole_at = time.monotonic()
        if body != self._queue:
            self._queue, content = body, json.loads(body)
            self._jobs = len(content["queue_running"]) + len(content["queue_pending"])


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> bytes:
    """Ask for a path and give the body."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{GUARD_HEADER}: {SECRET}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


async def poll_all(plan: Plan) -> None:
    """Ask each instance once a second, spread over the second."""
    ports: list[int] = plan["ports"]
    beats, begun = Beats(plan), time.monotonic()
    tasks = [
        asyncio.create_task(Poller(port, beats).run(begun + n / len(ports)))
        for n, port in enumerate(ports)
    ]
    await asyncio.to_thread(beats.measure)
    await asyncio.gather(*tasks)
    say(beats.report())


if __name__ == "__main__":
    allow_files()
    asyncio.run(poll_all(json.loads(sys.argv[1])))
