"""A week of 200 people and 16 cards in seconds, against the theoretical best of the same arrivals.

    venv/bin/python -m bench.simulate_week [--seed N] [--users N] [--cards N] [--days N]

Every start, place in line, offer, missed turn and end goes through the manager's own lifecycle,
line, scheduler and SQLite store, on a clock that is set; only launcher, gate and ComfyUI are
stand-ins. What people do comes from ``bench.week``. The best is ``bench.queueing``: one line, first
come first served, any card for everybody, everybody there at once, and nobody who does not come.
Prints ratios to it, and in "no delays" the house must be as good. "Estimates" compares what the
page said to whoever joined the line with when his turn came; who left before that counts not.

Exit code 1 when a port was ever held twice, or anybody starved: was still in line when all had
ended, or was passed over by somebody who came more than ``--passed-over`` seconds after him.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.queueing import Demand, first_come, jain, shortest_first
from bench.week import DAY, Week, week
from bench.week_ledger import Outcome, Scenario
from bench.week_run import FIRST_PORT, Simulation

LEAST_OF_USER = 2
"""With fewer served wishes a user's mean says nothing of fairness."""

SCENARIOS = (
    Scenario("claim"),
    Scenario("automatic", line_start="automatic"),
    Scenario("claim, any card", assigned=False),
    Scenario("no delays", line_start="automatic", assigned=False, attentive=True),
)


@dataclass(frozen=True)
class Figures:
    """What a set of waits comes to; times in minutes."""

    served: int
    at_once: float
    mean: float
    median: float
    high: float
    jain: float
    worst: float


def figures(waits: Sequence[tuple[int, float]]) -> Figures:
    """Sum up waits, each with its user."""
    values = [wait / 60 for _, wait in waits]
    waited = [value for value in values if value > 0.01]
    of_user: dict[int, list[float]] = {}
    for user, wait in waits:
        of_user.setdefault(user, []).append(wait / 60)
    means = [statistics.mean(of) for of in of_user.values() if len(of) >= LEAST_OF_USER] or [0.0]
    mean = statistics.mean(values)
    return Figures(
        served=len(values),
        at_once=1 - len(waited) / len(values),
        mean=mean,
        median=statistics.median(waited or [0.0]),
        high=statistics.quantiles(values, n=20)[18],
        jain=jain(means),
        worst=max(means) / mean if mean else 1.0,
    )


def demands_of(outcome: Outcome, idle_limit: float) -> list[Demand]:
    """Give what was asked of the house, for the theory.

    Who missed his turn and never came again is left out: there was nobody to be served.
    """
    there = (one for one in outcome.asked if one.over in (None, "left"))
    return [
        Demand(one.wish.user, one.wish.at, one.wish.hold(idle_limit), one.wish.patience)
        for one in sorted(there, key=lambda one: one.wish.at)
    ]


def served_by(waits: Sequence[float | None], demands: Sequence[Demand]) -> list[tuple[int, float]]:
    """Pair waits with users, without those who left."""
    pairs = zip(waits, demands, strict=True)
    return [(demand.user, wait) for wait, demand in pairs if wait is not None]


def coverage(outcome: Outcome) -> tuple[int, int, int, int, int]:
    """Compare the estimates shown with when the turn really came.

    Returns:
        How many came within, earlier, later; how many cannot be told, because he left before the
        later end; and to how many no estimate could be shown.
    """
    within = early = late = untold = none = 0
    for one in outcome.asked:
        if one.joined_at is None:
            continue
        if one.shown is None:
            none += 1
            continue
        low, high = one.shown
        if one.first_turn is None:
            left_after = one.wish.patience
            late, untold = late + (left_after > high), untold + (left_after <= high)
        elif one.first_turn < low:
            early += 1
        elif one.first_turn > high:
            late += 1
        else:
            within += 1
    return within, early, late, untold, none


@dataclass(frozen=True)
class Result:
    """A scenario's run beside the theory of the same arrivals."""

    scenario: Scenario
    outcome: Outcome
    ours: Figures
    best: Figures
    told: Figures
    demand: float
    best_held: float


def play(of: Week, scenario: Scenario, users: int, cards: int) -> Result:
    """Run one scenario."""
    shared_memory = Path("/dev/shm")
    where = shared_memory if shared_memory.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        simulation = Simulation(Path(folder), of, scenario, users, cards)
        outcome = simulation.run()
    demands = demands_of(outcome, simulation.settings.idle_timeout)
    first, shortest = first_come(demands, cards), shortest_first(demands, cards)
    taken = zip(first, demands, strict=True)
    return Result(
        scenario,
        outcome,
        figures([(one.wish.user, one.wait) for one in outcome.asked if one.wait is not None]),
        figures(served_by(first, demands)),
        figures(served_by(shortest, demands)),
        sum(one.hold for one in demands),
        sum(one.hold for wait, one in taken if wait is not None),
    )


Row = tuple[str, list[str]]


def table(results: Sequence[Result], cards: int, days: int) -> list[Row]:
    """Give the rows to print, each with a value a scenario."""
    found = [*_served(results), *_waited(results), *_held(results, cards * days * DAY)]
    return [*found, *_estimated(results), *_wrong(results)]


def _row(name: str, text: str, *values: Sequence[object]) -> Row:
    return name, [text.format(*value) for value in zip(*values, strict=True)]


def _served(results: Sequence[Result]) -> list[Row]:
    out = [result.outcome for result in results]
    served = [r.ours.served for r in results], [r.best.served for r in results]
    return [
        _row("wishes", "{}", [len(o.asked) for o in out]),
        _row("served / best", "{} / {}", *served),
        _row("left the line", "{}", [sum(a.over == "left" for a in o.asked) for o in out]),
        _row("turns missed", "{}", [o.missed_turns for o in out]),
        _row("never came again", "{}", [sum(a.over == "missed" for a in o.asked) for o in out]),
    ]


def _waited(results: Sequence[Result]) -> list[Row]:
    def beside(name: str, text: str, of: Callable[[Figures], float]) -> Row:
        shown = f"{{:{text}}} / {{:{text}}}"
        return _row(name, shown, [of(r.ours) for r in results], [of(r.best) for r in results])

    def ratio(name: str, of: Callable[[Figures], float], told: bool = False) -> Row:
        best = [of(r.told if told else r.best) for r in results]
        return _row(name, "{:.2f}", _ratios([of(r.ours) for r in results], best))

    return [
        beside("mean wait, min", ".1f", lambda f: f.mean),
        ratio("  ratio", lambda f: f.mean),
        ratio("  to lengths told", lambda f: f.mean, told=True),
        beside("at once", ".0%", lambda f: f.at_once),
        beside("median of who waited", ".1f", lambda f: f.median),
        ratio("  ratio", lambda f: f.median),
        beside("p95 wait, min", ".0f", lambda f: f.high),
        ratio("  ratio", lambda f: f.high),
        beside("Jain of users' means", ".2f", lambda f: f.jain),
        beside("worst user / mean", ".1f", lambda f: f.worst),
    ]


def _held(results: Sequence[Result], hours: float) -> list[Row]:
    out = [result.outcome for result in results]
    held = [o.held / hours for o in out], [r.best_held / hours for r in results]
    return [
        _row("cards held", "{:.1%} / {:.1%}", *held),
        _row("  kept for a claim", "{:.1%}", [o.kept / hours for o in out]),
        _row("  started for nobody", "{:.1%}", [o.wasted / hours for o in out]),
    ]


def _estimated(results: Sequence[Result]) -> list[Row]:
    covered = [coverage(result.outcome) for result in results]

    def share(name: str, which: int) -> Row:
        return _row(name, "{:.0%}", [one[which] / max(1, sum(one[:3])) for one in covered])

    return [
        _row("estimates told", "{}", [sum(one[:4]) for one in covered]),
        share("  held", 0),
        share("  turn came earlier", 1),
        share("  turn came later", 2),
        _row("  left before", "{}", [one[3] for one in covered]),
        _row("no estimate", "{}", [one[4] for one in covered]),
    ]


def _wrong(results: Sequence[Result]) -> list[Row]:
    out = [result.outcome for result in results]
    passed = [o.passed_over for o in out], [o.longest_pass for o in out]
    return [
        _row("double holds", "{}", [o.double_holds for o in out]),
        _row("starved", "{}", [o.starved for o in out]),
        _row("passed over", "{}, by {:.0f} s", *passed),
    ]


def _ratios(ours: Sequence[float], best: Sequence[float]) -> list[float]:
    return [a / b if b else float("nan") for a, b in zip(ours, best, strict=True)]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--cards", type=int, default=16)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--sessions", type=float, default=1.6, help="a user's on a weekday")
    parser.add_argument("--passed-over", type=float, default=0.0, help="seconds; see above")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run every scenario and print; give the exit code."""
    given = arguments(argv)
    logging.disable(logging.CRITICAL)
    begun = time.monotonic()
    ports = [FIRST_PORT + number for number in range(given.cards)]
    of = week(given.seed, given.users, ports, given.days, given.sessions)
    results = [play(of, scenario, given.users, given.cards) for scenario in SCENARIOS]
    print(
        f"seed {given.seed}: {given.users} users ({len(of.ports)} with a port of their own), "
        f"{given.cards} cards, {given.days} days, {len(of.wishes)} wishes; "
        f"{time.monotonic() - begun:.0f} s"
    )
    print(f"{'ours / theoretical best':26}" + "".join(f"{s.name:>18}" for s in SCENARIOS))
    for name, values in table(results, given.cards, given.days):
        print(f"{name:26}" + "".join(f"{value:>18}" for value in values))
    bad = [
        result.scenario.name
        for result in results
        if result.outcome.double_holds
        or result.outcome.starved
        or result.outcome.longest_pass > given.passed_over
    ]
    print(f"BROKEN: {', '.join(bad)}" if bad else "no double hold, nobody starved")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
