"""What the whole program costs while users' instances idle and no page is open.

    venv/bin/python -m bench.idle_cost [--instances 0 16] [--seconds N]

The real program with Caddy and real launches of the demo, which answers like ComfyUI. Prints the
processor time of the manager and of Caddy in percent of one core. For more instances than a machine
has memory for, and for the part of it that is the watch, see ``bench.watch_cost``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
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


def measure(instances: int, seconds: float) -> None:
    """Start so many instances, wait, and print what a time without work costs."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, contextlib.ExitStack() as stack:
        settings = {"COMFYUI_ARGS": "--demo-zero-boot", "ISOLATION": "directories"}
        manager = ManagerProcess(Path(name), rows=max(1, instances), settings=settings)
        stack.enter_context(manager)
        admin = stack.enter_context(first_admin(manager))
        for n in range(instances):
            user = stack.enter_context(new_user(admin, f"bench{n}"))
            user.start()
        assert manager.process is not None
        caddy = json.loads((manager.data_dir / "caddy" / "caddy.json").read_text("utf-8"))
        pids = (manager.process.pid, int(caddy["pid"]))
        time.sleep(SETTLE_S)
        before = [spent(pid) for pid in pids]
        time.sleep(seconds)
        ours, theirs = ((spent(pid) - one) / seconds for pid, one in zip(pids, before, strict=True))
    print(f"{instances:9}{ours:10.1%}{theirs:8.1%}{ours + theirs:8.1%}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--instances", type=int, nargs="+", default=[0, 16])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    given = parser.parse_args()
    print("instances   manager   Caddy    both")
    for instances in given.instances:
        measure(instances, given.seconds)


if __name__ == "__main__":
    main()
