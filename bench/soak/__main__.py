"""A week of life in at most an hour: 50 people, 4 cards, and something killed again and again.

    venv/bin/python -m bench.soak [--minutes N] [--users N] [--cards N] [--seed N] [--every S]

The real program with Caddy and real launches of the demo, on loopback, in a folder of its own.
People are those of ``bench.week``, lived 168 times as fast: half an hour of work takes 11 s, the
idle limit of ten minutes 4 s. Each has a page open all the time, and a websocket through the gate
while he works.

Every few seconds something happens: an instance, a supervisor, Caddy or the manager is killed
(SIGKILL), the wall clock is set by up to five hours, the disk takes no byte for three seconds. The
manager and Caddy are killed in the first ``--shaken`` part of the time only, so that the rest is
one long life of both, of which memory can be said to grow or not.

Looks each 5 s at whatever could grow without end. At the end everybody rests, and it is counted:
each prompt that a ComfyUI accepted must have become a picture, or be kept for its user, or have
been sent so shortly before a kill that nobody saw it; no port or user was ever held twice; no
process, leftover or quarantined port stays. Exit code 1 when that is not so.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.soak.faults import Faults
from bench.soak.gauges import Gauges, table
from bench.soak.ledger import Ledger
from bench.soak.people import Person, at_rest, wishes_of
from bench.week import DAY, week
from tests.support.chaos import account, rows, settle
from tests.support.client import ADMIN_PASSWORD, Client, first_admin, new_user
from tests.support.clocked import Clock
from tests.support.server import OWN_PROGRAM, ManagerProcess
from tests.support.waiting import wait_until

PACE = 168.0
"""Seconds of life in one: a week in an hour."""

LONGEST_MIN = 60.0
LOOK_EVERY_S = 5.0
SETTINGS = {
    "COMFYUI_ARGS": "--demo-zero-boot",
    "IDLE_TIMEOUT": "4",
    "IDLE_SIGNALS_MAX": "20",
    "STOP_TIMEOUT": "2",
    "CLAIM_TIMEOUT": "5",
    "RESTART_POLICY": "on-crash",
    "SESSION_HOURS": "1",
    "QUARANTINE_AFTER": "60",
}
TRACEBACK = re.compile(r"^Traceback .*\n(?:\s.*\n)*.*$", re.MULTILINE)
EMPTY_S = 180.0
"""For the last queues to be worked off and everything to be ended."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0, help=f"at most {LONGEST_MIN:.0f}")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--cards", type=int, default=4)
    parser.add_argument("--sessions", type=float, default=3.0, help="wishes of a user each weekday")
    parser.add_argument("--every", type=float, default=12.0, help="seconds between two faults")
    parser.add_argument("--shaken", type=float, default=0.4, help="part with kills of the house")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def live(options: argparse.Namespace, faults: Faults, gauges: Gauges) -> None:
    """Let time pass, with faults and looks."""
    begun = time.monotonic()
    seconds = min(options.minutes, LONGEST_MIN) * 60
    fault_at, look_at, said_at = begun + options.every, begun, begun
    while (now := time.monotonic()) - begun < seconds:
        if now >= fault_at:
            faults.one(of_the_house=now - begun < seconds * options.shaken)
            fault_at = time.monotonic() + options.every
        if now >= look_at:
            gauges.look()
            look_at = now + LOOK_EVERY_S
        if now >= said_at:
            past, load = (now - begun) / 60, os.getloadavg()[0]
            held = gauges.samples[-1].gauges.get("manager memory, MiB", 0.0)
            done = "".join(f", {what} {n}" for what, n in faults.done.items())
            print(f"{past:5.1f} min, load {load:4.1f}, manager {held:.0f} MiB{done}", flush=True)
            said_at = now + 60
        time.sleep(0.2)


def remains(manager: ManagerProcess, gauges: Gauges) -> list[str]:
    """Wait until all have left, and give what is not as it should be."""
    settle(manager)
    wait_until(
        lambda: all(row["status"] in {"idle", "failed"} for row in rows(manager)),
        EMPTY_S,
        "the last queue is empty and its instance ended",
    )
    # By their times alone sessions may seem to overlap: the clock was set.
    wrong = [one for one in account(manager, set()) if not one.startswith("at the same time")]
    # The clock was set: logins of before may be over.
    with Client(manager, "admin", ADMIN_PASSWORD) as admin:
        overview = admin.get("/api/admin/overview")
    wrong += [str(one) for one in (*overview["leftovers"], *overview["quarantine"])]
    wrong += gauges.double_holds
    return wrong


def report(
    options: argparse.Namespace, people: Sequence[Person], faults: Faults, gauges: Gauges
) -> None:
    """Print what happened and how the gauges went."""
    did: Counter[str] = Counter()
    for one in people:
        did.update(one.did)
    life = min(options.minutes, LONGEST_MIN) * 60 * PACE
    print(f"seed {options.seed}: {life / DAY:.1f} days of {options.users} people")
    print("done:  ", ", ".join(f"{what} {n}" for what, n in sorted(did.items())))
    print("faults:", ", ".join(f"{what} {n}" for what, n in sorted(faults.done.items())))
    print("\n".join(table(gauges.samples)))


def soak(options: argparse.Namespace, folder: Path) -> list[str]:
    """Live and count; give what is wrong."""
    clock, ledger = Clock(folder / "clock"), Ledger()
    program = (*clock.program, OWN_PROGRAM[1])
    manager = ManagerProcess(
        folder / "manager", rows=options.cards, settings=SETTINGS, program=program
    )
    life_s = min(options.minutes, LONGEST_MIN) * 60 * PACE
    plan = week(options.seed, options.users, manager.ports, 8, options.sessions)
    with ExitStack() as stack:
        stack.enter_context(manager)
        admin = stack.enter_context(first_admin(manager))
        people = []
        for n in range(options.users):
            client = new_user(admin, f"u{n}", plan.ports.get(n))
            people.append(Person(client, f"u{n}", wishes_of(plan.wishes, n, life_s), ledger, PACE))
        faults, gauges = Faults(manager, clock, ledger, options.seed), Gauges(manager)
        for one in people:
            one.start()
        live(options, faults, gauges)
        wrong = [f"does not rest: {name}" for name in at_rest(people, EMPTY_S)]
        wrong += remains(manager, gauges)
        report(options, people, faults, gauges)
        counts, lost = ledger.fates(manager)
        print("prompts:", ", ".join(f"{fate} {n}" for fate, n in sorted(counts.items())))
        log = manager.log_path.read_text(encoding="utf-8")
        if lost:
            print(f"nobody looked, or nothing could be written: {ledger.unsure}")
            lost += [line for line in log.splitlines() if "cannot be kept" in line]
        for text, times in Counter(TRACEBACK.findall(log)).items():
            print(f"{times} times: {text}")
        return wrong + lost


def main() -> None:
    """Run in a folder of its own, which goes away afterwards."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        wrong = soak(options, Path(name))
    print("\n".join(wrong) or "nothing wrong")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
