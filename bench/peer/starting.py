"""Rows of starts and stops."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import psutil

from bench.peer.sides import NAMES, Run, Sides, in_turns, sides
from bench.peer.words import Row, ratio, spread
from bench.seats import Seat, Start, listener, start, stop, together
from demo import faults

HELPERS = 3
SETTLE_S = 5.0
DEAF_S = 20.0
"""How long the peer is watched; JupyterHub itself kills what it started after 60 s."""

BOOT_S = 10


def starts(run: Run) -> list[Row]:
    """Start overhead of one and of four, and the polite stop."""
    with sides(run, 4) as both:
        for name in NAMES:
            together(both.seats(name), start)
            together(both.seats(name), stop)
        one = in_turns(run.rounds(9, 3), lambda name: _go(both.seats(name)[:1]))
        four = in_turns(run.rounds(5, 2), lambda name: _go(both.seats(name)))
    return [
        _overhead("start overhead, 1 user", one, 0.2, "≤ 0.2 s, ≤ 1/7"),
        _overhead("start overhead, 4 users at once", four, 1.0, "≤ 1 s"),
        _stops("stop, polite server", one),
    ]


def _go(seats: Sequence[Seat]) -> tuple[list[Start], list[float]]:
    """Start and stop all at once."""
    return together(seats, start), together(seats, stop)


Rounds = dict[str, list[tuple[list[Start], list[float]]]]


def _overhead(what: str, found: Rounds, most: float, target: str) -> Row:
    """Give what is added to the bare start, by the medians of all starts of the run."""
    usable = {
        name: [one.usable for begun, _ in rounds for one in begun] for name, rounds in found.items()
    }
    bare = statistics.median(usable["bare"])
    added = {name: [value - bare for value in values] for name, values in usable.items()}
    ours, theirs = statistics.median(added["ours"]), statistics.median(added["peer"])
    met = ours <= most and ("1/7" not in target or ours <= theirs / 7)
    return Row(
        f"{what}, s (bare: {spread(usable['bare'])} in all)",
        spread(added["peer"]),
        spread(added["ours"]),
        ratio(ours, theirs),
        target,
        met,
    )


def _stops(what: str, found: Rounds) -> Row:
    took = {name: [one for _, ended in rounds for one in ended] for name, rounds in found.items()}
    bare, ours, theirs = (statistics.median(took[name]) for name in ("bare", "ours", "peer"))
    return Row(
        f"{what}, s (bare: {spread(took['bare'])})",
        spread(took["peer"]),
        spread(took["ours"]),
        ratio(ours, theirs),
        "≤ bare + 0.1 s",
        ours <= bare + 0.1,
    )


def readiness(run: Run) -> list[Row]:
    """Say how long after a server listens its user is let in, where it boots for ten seconds."""
    flags = ("--demo-slow-start", str(BOOT_S))
    with sides(run, 4, flags=flags) as both:
        found = in_turns(run.rounds(2, 1), lambda name: _go(both.seats(name)), ("ours", "peer"))
    late = {
        name: [one.late for begun, _ in rounds for one in begun] for name, rounds in found.items()
    }
    ours, theirs = statistics.median(late["ours"]), statistics.median(late["peer"])
    return [
        Row(
            f"let in after it listens, 4 users, {BOOT_S} s boot, s",
            spread(late["peer"]),
            spread(late["ours"]),
            ratio(ours, theirs),
            "≤ 0.3 s",
            ours <= 0.3,
        )
    ]


def deaf(run: Run) -> list[Row]:
    """Stop a server that ignores SIGINT and SIGTERM."""
    with sides(run, 1, flags=("--demo-zero-boot", "--demo-ignore-sigterm")) as both:
        took = {name: _deaf_stop(both.seats(name)[0]) for name in ("ours", "peer")}
    ours = took["ours"]
    return [
        Row(
            "stop, server deaf to SIGINT and SIGTERM, s",
            _or_never(took["peer"]),
            _or_never(ours),
            ratio(ours, took["peer"]) if ours and took["peer"] else "–",
            "≤ 10 s",
            ours is not None and ours <= 10,
        )
    ]


def _deaf_stop(seat: Seat) -> float | None:
    start(seat)
    try:
        return stop(seat, DEAF_S)
    except TimeoutError:
        return None


def _or_never(took: float | None) -> str:
    return f"lives on ({DEAF_S:.0f} s watched)" if took is None else f"{took:.2f}"


def helpers(run: Run) -> list[Row]:
    """Stop a server that has left processes behind: a child, a deaf one, a daemon."""
    flags = ("--demo-zero-boot", "--demo-spawn-grandchildren", str(HELPERS))
    with sides(run, 1, flags=flags) as both:
        left = {name: _left(both, name) for name in ("ours", "peer")}
    return [
        Row(
            f"helper processes left after stop, of {HELPERS}",
            str(left["peer"]),
            str(left["ours"]),
            ratio(left["ours"], left["peer"]),
            "0",
            left["ours"] == 0,
        )
    ]


def _left(both: Sides, name: str) -> int:
    seat = both.seats(name)[0]
    before = set(_helpers())
    start(seat)
    own = psutil.Process(listener(seat.port))
    time.sleep(SETTLE_S)
    # On a shared machine others may run the same child: those of its own account or tree alone.
    tagged = {p.pid for p in (both.manager if name == "ours" else both.hub).processes()}
    below = {p.pid for p in own.children(recursive=True)}
    mine = [p for p in _helpers() if p not in before and p.pid in tagged | below]
    if len(mine) != HELPERS:
        raise RuntimeError(f"{len(mine)} helpers of {HELPERS} were found")
    stop(seat)
    time.sleep(SETTLE_S)
    left = [one for one in mine if one.is_running()]
    for one in left:
        one.kill()
    return len(left)


def _helpers() -> list[psutil.Process]:
    words = psutil.process_iter(["cmdline"])
    return [one for one in words if faults.GRANDCHILD in (one.info["cmdline"] or ())]
