"""What the manager adds to a start and a stop, against the same child started bare, in one run.

    venv/bin/python -m bench.start_overhead [--runs N] [--boot]

Start: from the click (``POST /api/user/start``) to the first 200 through the gate; bare: from the
spawn to the first 200 on the child's own port. Stop: from the click to «process gone and gate
closed»; bare: from SIGTERM to «process gone». The child is the demo, without its pretended boot
unless ``--boot`` is given; with COMFYUI_PATH in the environment it is the real ComfyUI found there.
Bare it has no guard: what the guard costs is part of what is added.
Prints medians in milliseconds and the ratios; only the ratios mean something on another machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from bench.seats import Bare, Ours, Seat, start, stop
from tests.support.client import first_admin, new_user
from tests.support.server import ManagerProcess


def once(seat: Seat) -> tuple[float, float]:
    """Start and stop; give both times in seconds."""
    return start(seat).usable, stop(seat)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=7, help="starts of each kind (1-50)")
    parser.add_argument("--boot", action="store_true", help="with the demo's pretended boot")
    given = parser.parse_args()
    chosen = {"COMFYUI_ARGS": "" if given.boot else "--demo-zero-boot"}
    for name in ("COMFYUI_PATH", "COMFYUI_PYTHON"):
        if name in os.environ:
            chosen |= {name: os.environ[name], "COMFYUI_ARGS": ""}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        manager = ManagerProcess(folder, rows=1, settings=chosen)
        with manager, first_admin(manager) as admin, new_user(admin, "bench") as user:
            bare, ours = Bare(manager, folder), Ours(user, manager.ports[0])
            once(bare)
            pairs = [(once(bare), once(ours)) for _ in range(min(given.runs, 50))]
    print(f"{'':8}{'bare ms':>10}{'managed ms':>12}{'added ms':>10}{'ratio':>8}   n={len(pairs)}")
    for index, label in enumerate(("start", "stop")):
        alone = statistics.median(b[index] for b, _ in pairs) * 1000
        through = statistics.median(m[index] for _, m in pairs) * 1000
        print(f"{label:8}{alone:10.0f}{through:12.0f}{through - alone:10.0f}{through / alone:8.2f}")


if __name__ == "__main__":
    main()
