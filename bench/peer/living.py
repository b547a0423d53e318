"""Rows of what goes on while people work: websockets, idle cost, idle limits."""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import psutil

from bench import idle_cost
from bench.idle_cost import SETTLE_S, Cost, is_demo, memory, spent
from bench.peer.hub import Hub, Peer
from bench.peer.sides import Run, Sides, sides
from bench.peer.words import Row, ratio
from bench.seats import Seat, has_ended, listener, start, stop, together
from tests.support.client import is_open

SOCKETS = 50
LONG_JOB = {"1": {"class_type": "Sleep", "inputs": {"seconds": 3600}}}
SLACK_S = 15.0
"""For which what should have been ended is watched beyond its limit."""


def websockets(run: Run) -> list[Row]:
    """Hold one user's websockets while another starts and stops."""
    cycles = run.rounds(20, 5)
    with sides(run, 2) as both:
        lost = {name: _lost(both, name, cycles) for name in ("ours", "peer")}
    return [
        Row(
            f"websockets of one user dropped in {cycles} starts and stops of another, of {SOCKETS}",
            str(lost["peer"]),
            str(lost["ours"]),
            "–",
            "0",
            lost["ours"] == 0,
        )
    ]


def _lost(both: Sides, name: str, cycles: int) -> int:
    first, second = both.seats(name)
    start(first)
    held = [first.websocket() for _ in range(SOCKETS)]
    for _ in range(cycles):
        start(second)
        stop(second)
    lost = sum(not is_open(one) for one in held)
    for one in held:
        one.close()
    stop(first)
    return lost


def idle(run: Run) -> list[Row]:
    """Measure processor time and memory while servers idle, at one look a second on both sides."""
    seconds = run.rounds(30, 10)
    most = {0: 150, 4: None, 16: 155}
    counts = (0, 16) if run.quick else (0, 4, 16)
    ours, theirs = {}, {}
    for count in counts:
        ours[count] = idle_cost.measure(count, seconds)
        theirs[count] = _peer_cost(run, count, seconds)
    cpu = {n: (theirs[n].manager, ours[n].manager + ours[n].caddy) for n in counts}
    rows = [
        Row(
            "idle processor time, 16 users, % of a core (looks each second)",
            f"{cpu[16][0]:.1%}",
            f"{cpu[16][1]:.1%}",
            ratio(cpu[16][1], cpu[16][0]),
            "≤ 2 %",
            cpu[16][1] <= 0.02,
        )
    ]
    for count in counts:
        limit = most[count]
        rows.append(
            Row(
                f"memory, {count} users, MiB",
                f"{theirs[count].memory:.0f}",
                f"{ours[count].memory:.0f}",
                ratio(ours[count].memory, theirs[count].memory),
                f"≤ {limit} MiB" if limit else "",
                ours[count].memory <= limit if limit else None,
            )
        )
    each = (theirs[16].helpers, ours[16].helpers)
    shown = (f"{each[0]:.1f}", f"{each[1]:.1f}", ratio(each[1], each[0]))
    rows.append(Row("memory beside each server, MiB", *shown, "≤ 10 MiB", each[1] <= 10))
    return rows


def _peer_cost(run: Run, count: int, seconds: float) -> Cost:
    names = [f"bench{n}" for n in range(count)]
    with tempfile.TemporaryDirectory(dir=run.folder) as folder:
        hub = Hub(run.installed, Path(folder) / "peer", names, interval=1, idle_limit=86_400)
        with hub:
            for name in names:
                start(Peer(hub, name))
            core = hub.core()
            time.sleep(SETTLE_S)
            before = sum(map(spent, core))
            time.sleep(seconds)
            part = (sum(map(spent, core)) - before) / seconds
            others = [p.pid for p in hub.processes() if p.pid not in core and not is_demo(p)]
            each = memory(others) / max(1, count)
            return Cost(part, 0.0, memory(core), each)


def culling(run: Run) -> list[Row]:
    """Leave one server idle and one at a long job that nobody looks at."""
    limit = run.rounds(60, 20)
    with sides(run, 2, idle_limit=limit, interval=1) as both:
        seats: list[Seat] = [*both.ours, *both.peer]
        together(seats, start)
        # Nobody has a page open: the job goes to ComfyUI and its user leaves.
        both.ours[1].way().post("/prompt", {"prompt": LONG_JOB})
        both.peer[1].prompt(LONG_JOB)
        both.ours[0].way().get("/queue")
        both.peer[0].answers()
        watched = [Ending(seat.port, limit + SLACK_S) for seat in seats]
        for one in watched:
            one.start()
        for one in watched:
            one.join()
    ours_idle, ours_job, peer_idle, peer_job = (one.after for one in watched)
    return [
        Row(
            f"idle limit of {limit} s: stopped so long after it, s",
            _late(peer_idle, limit),
            _late(ours_idle, limit),
            ratio(ours_idle - limit, peer_idle - limit) if ours_idle and peer_idle else "–",
            "≤ 1.5 s",
            ours_idle is not None and 0 <= ours_idle - limit <= 1.5,
        ),
        Row(
            "a running job nobody looks at, at the idle limit",
            "goes on" if peer_job is None else "killed",
            "goes on" if ours_job is None else "killed",
            "–",
            "goes on",
            ours_job is None,
        ),
    ]


class Ending(threading.Thread):
    """Notes how long after now a server's process is gone; None when it is not in time."""

    def __init__(self, port: int, seconds: float) -> None:
        """Find the process."""
        super().__init__(daemon=True)
        self._process = psutil.Process(listener(port))
        self._seconds = seconds
        self.after: float | None = None

    def run(self) -> None:
        """Watch."""
        begun = time.monotonic()
        while (now := time.monotonic()) - begun < self._seconds:
            if has_ended(self._process):
                self.after = now - begun
                return
            time.sleep(0.05)


def _late(after: float | None, limit: int) -> str:
    return "never" if after is None else f"+ {after - limit:.1f}"
