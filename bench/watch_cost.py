"""What the watch costs and how exact it is, against a bare asyncio poller, in one run.

    venv/bin/python -m bench.watch_cost [--instances 4 64] [--bodies idle busy] [--seconds N]

One process stands for all instances: ``idle`` has an empty queue, ``busy`` always the same 200 KB
graph in it, ``changing`` another one at each question; ``followed`` is busy, and the manager also
asks how far the work is, which is another step each time. Another process, the measured one, checks
each once a second: ``watch`` is the manager with its database, launcher and loops, but without
pages and Caddy; ``asyncio`` asks the same questions and does nothing else.

Prints processor time per check, how many times the bare poller's that is, percent of one core, how
late checks begin (ms), the longest time between two checks of an instance (s), and how many were
skipped. Only ratios mean something on another machine: the bare poller is as late as the machine's
other work makes it. The whole table takes some five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from manager import runtime

POLLERS = {"watch": "bench.watch_real", "asyncio": "bench.watch_bare"}
BODIES = ("idle", "busy", "changing", "followed")
PATIENCE_S = 60.0
"""For a part that should have ended."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--instances", type=int, nargs="+", default=[4, 16, 64, 256, 1000])
    parser.add_argument("--bodies", nargs="+", choices=BODIES, default=["idle", "busy"])
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--mode", choices=runtime.MODES, default="eventlet")
    return parser.parse_args()


@contextmanager
def part(module: str, plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run a part and give the line that it prints; it ends with the block."""
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", module, json.dumps(plan)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{module} ended without a word")
            yield json.loads(line)
        finally:
            try:
                process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()


def measure(instances: int, body: str, options: argparse.Namespace) -> None:
    """Measure one case and print it."""
    with part("bench.watch_stand_ins", {"instances": instances, "kind": body}) as stand_ins:
        found = {}
        for name, module in POLLERS.items():
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                plan = {
                    "ports": stand_ins["ports"],
                    "seconds": options.seconds,
                    "kind": body,
                    "mode": options.mode,
                    "folder": folder,
                }
                with part(module, plan) as result:
                    found[name] = result
    each = {name: one["cpu"] / max(1, one["checks"]) for name, one in found.items()}
    for name, one in found.items():
        late = "".join(f"{one[key] * 1000:8.1f}" for key in ("p50", "p99", "max"))
        print(
            f"{instances:9}  {body:9}{name:8}{each[name] * 1e6:8.0f}"
            f"{each[name] / each['asyncio']:7.1f}{one['cpu'] / options.seconds:8.1%}"
            f"{late}{one['longest_gap']:8.2f}{one.get('skipped', 0):8}",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    options = arguments()
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{os.cpu_count()} processors, load {loads}, mode {options.mode}")
    names = "us/check  ratio    core     p50     p99     max     gap skipped"
    print(f"instances  body     poller  {names}")
    for body in options.bodies:
        for instances in options.instances:
            measure(instances, body, options)


if __name__ == "__main__":
    main()
