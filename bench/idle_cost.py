"""What the whole program costs while users' instances idle and no page is open.

    venv/bin/python -m bench.idle_cost [--instances 0 16] [--seconds N]

The real program with Caddy and real launches of the demo, which answers like ComfyUI. Prints the
processor time of the manager and of Caddy in percent of one core, and their memory. For more
instances than a machine has memory for, and for the part that is the watch, see
``bench.watch_cost``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support.client import first_admin, new_user
from tests.support.server import ManagerProcess

SETTLE_S = 10.0
"""After the last start: gates are open and connections made."""


def spent(pid: int) -> float:
    """Give the processor seconds that a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


@dataclass(frozen=True)
class Cost:
    """Parts of one core, MiB of resident memory, and of ``helpers`` (supervisors) per instance."""

    manager: float
    caddy: float
    memory: float
    helpers: float


def measure(instances: int, seconds: float) -> Cost:
    """Start so many instances, wait, and give what a time without work costs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        settings = {"COMFYUI_ARGS": "--demo-zero-boot", "ISOLATION": "directories"}
        manager = ManagerProcess(Path(name), rows=max(1, instances), settings=settings)
        stack.enter_context(manager)
        admin = stack.enter_context(first_admin(manager))
        for n in range(instances):
            user = stack.enter_context(new_user(admin, f"bench{n}"))
            user.start()
        pids = core(manager)
        time.sleep(SETTLE_S)
        before = [spent(pid) for pid in pids]
        time.sleep(seconds)
        ours, theirs = ((spent(pid) - one) / seconds for pid, one in zip(pids, before, strict=True))
        others = [p for p in manager.processes() if p.pid not in pids and not is_demo(p)]
        each = memory(p.pid for p in others) / max(1, instances)
        return Cost(ours, theirs, memory(pids), each)


def core(manager: ManagerProcess) -> tuple[int, int]:
    """Give the pids of the manager and its Caddy."""
    assert manager.process is not None
    caddy = json.loads((manager.data_dir / "caddy" / "caddy.json").read_text("utf-8"))
    return manager.process.pid, int(caddy["pid"])


def is_demo(process: psutil.Process) -> bool:
    """Tell whether a process is a user's own server, and no part of what starts it."""
    # Whatever starts it names it too, but further on.
    return any(word.endswith("demo/main.py") for word in process.cmdline()[:5])


def memory(pids: Iterable[int]) -> float:
    """Sum up resident memory, in MiB."""
    return float(sum(psutil.Process(pid).memory_info().rss for pid in pids)) / (1 << 20)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--instances", type=int, nargs="+", default=[0, 16])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    given = parser.parse_args()
    print("instances   manager   Caddy    both    MiB  + each")
    for instances in given.instances:
        one = measure(instances, given.seconds)
        both = one.manager + one.caddy
        print(f"{instances:9}{one.manager:10.1%}{one.caddy:8.1%}{both:8.1%}", end="")
        print(f"{one.memory:7.0f}{one.helpers:8.1f}", flush=True)


if __name__ == "__main__":
    main()
