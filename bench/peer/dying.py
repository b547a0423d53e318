"""Rows of what is killed, and of the installation."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable

import requests

from bench import crash_seen
from bench.peer import install
from bench.peer.hub import Peer
from bench.peer.sides import Run, Sides, sides
from bench.peer.words import Row, ratio
from bench.seats import Ours, Seat, answers, listener, start, together
from tests.support.client import is_open

AWAY_S = 5.0
BACK_S = 15.0
"""After the restart answers: the peer's proxy comes back within ten seconds."""

TOLD_S = 40.0
"""JupyterHub looks at its processes each 30 s."""


class Gap(threading.Thread):
    """Asks for a user's server again and again; notes the longest time without an answer."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        """Bind."""
        super().__init__(daemon=True)
        self._ask = ask
        self.over = threading.Event()
        self.longest = 0.0

    def run(self) -> None:
        """Ask until it is over."""
        missing_since: float | None = None
        while not self.over.wait(0.05):
            asked = time.monotonic()
            if self._ask():
                missing_since = None
            else:
                missing_since = missing_since or asked
                self.longest = max(self.longest, time.monotonic() - missing_since)


def manager_killed(run: Run) -> list[Row]:
    """Kill the manager (the Hub) and start it again, with four users at work."""
    with sides(run, 4) as both:
        together(both.ours, start)
        ours = _killed(both, list(both.ours), both.manager.kill, both.manager.start, _through_gate)
        together(both.peer, start)
        theirs = _killed(both, list(both.peer), both.hub.kill, both.hub.start, _through_hub)
    names = ("longest gap, s", "websockets dropped, of 4", "servers taken up again, of 4")
    targets: tuple[tuple[str, Callable[[float], bool]], ...] = (
        ("0", lambda value: value < 0.5),
        ("0", lambda value: value == 0),
        ("4", lambda value: value == 4),
    )
    return [
        Row(
            f"manager killed (SIGKILL) and started again: {name}",
            f"{theirs[n]:.1f}" if n == 0 else f"{theirs[n]:.0f}",
            f"{ours[n]:.1f}" if n == 0 else f"{ours[n]:.0f}",
            ratio(ours[n], theirs[n]) if n == 0 else "–",
            target,
            holds(ours[n]),
        )
        for n, (name, (target, holds)) in enumerate(zip(names, targets, strict=True))
    ]


def _killed(
    both: Sides,
    seats: list[Seat],
    kill: Callable[[], object],
    again: Callable[[], object],
    ask: Callable[[Seat], Callable[[], bool]],
) -> tuple[float, float, float]:
    del both
    pids = [listener(seat.port) for seat in seats]
    held = [seat.websocket() for seat in seats]
    gap = Gap(ask(seats[0]))
    gap.start()
    kill()
    time.sleep(AWAY_S)
    again()
    time.sleep(BACK_S)
    gap.over.set()
    gap.join()
    dropped = sum(not is_open(one) for one in held)
    adopted = sum(listener(seat.port) == pid for seat, pid in zip(seats, pids, strict=True))
    return gap.longest, dropped, adopted


def _through_gate(seat: Seat) -> Callable[[], bool]:
    assert isinstance(seat, Ours)
    return lambda: answers(seat.url)


def _through_hub(seat: Seat) -> Callable[[], bool]:
    assert isinstance(seat, Peer)

    def ask() -> bool:
        with contextlib.suppress(requests.RequestException):
            return seat.answers()
        return False

    return ask


def instance_killed(run: Run) -> list[Row]:
    """Kill a user's server; ours until the open page was told, theirs until the Hub knows."""
    told = crash_seen.measure(run.rounds(10, 3))
    with sides(run, 1) as both:
        seat = both.peer[0]
        start(seat)
        os.kill(listener(seat.port), signal.SIGKILL)
        begun = time.monotonic()
        known: float | None = None
        while known is None and time.monotonic() - begun < TOLD_S:
            if not seat.is_told_of():
                known = time.monotonic() - begun
            time.sleep(0.5)
        goes = seat.answers()
    again = "; its wrapper starts another" if goes else ""
    theirs = f"not told ({TOLD_S:.0f} s watched)" if known is None else f"{known:.1f}, not pushed"
    return [
        Row(
            "user's server killed: the open page says so after, s",
            theirs + again,
            f"{statistics.median(told):.2f} (–{max(told):.2f})",
            "–" if known is None else ratio(statistics.median(told), known),
            "≤ 2 s, pushed",
            max(told) <= 2,
        )
    ]


def installed(run: Run) -> list[Row]:
    """Install both from nothing, without any cache."""
    del run
    theirs = install.from_nothing(install.install_peer)
    ours = install.from_nothing(install.install_ours)
    pairs = (
        ("time, s", theirs.seconds, ours.seconds, 30),
        ("packages", theirs.packages, ours.packages, 40),
        ("on the disk, MiB", theirs.mebibytes, ours.mebibytes, 120),
    )
    return [
        Row(
            f"installation from nothing: {what}",
            f"{peer:.0f}",
            f"{own:.0f}",
            ratio(own, peer),
            f"≤ {most}",
            own <= most,
        )
        for what, peer, own, most in pairs
    ]
