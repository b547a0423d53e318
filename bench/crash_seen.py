"""How long it takes from the end of a ComfyUI until its user's open page says so.

    venv/bin/python -m bench.crash_seen [--kills N]

The real program with Caddy and real launches of the demo. One page is open; its instance is killed
at a random moment between two looks, and the time until the page is told is taken. Prints seconds.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests.support.chaos import row_of
from tests.support.client import first_admin, new_user
from tests.support.open_page import OpenPage
from tests.support.server import ManagerProcess


def measure(kills: int) -> list[float]:
    """Kill so many instances of one user; give the seconds until his page knew."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        settings = {"COMFYUI_ARGS": "--demo-zero-boot"}
        with (
            ManagerProcess(Path(name), rows=1, settings=settings) as manager,
            first_admin(manager) as admin,
            new_user(admin, "ann") as ann,
            OpenPage(ann) as page,
        ):
            states = page.states()
            taken = []
            for _ in range(kills):
                ann.start()
                next(state for state in states if (state["instance"] or {}).get("idle_seconds"))
                time.sleep(random.uniform(0, 1))
                began = time.monotonic()
                os.kill(row_of(manager, manager.ports[0])["process_id"], signal.SIGKILL)
                next(state for state in states if state["phase"] == "failed")
                taken.append(time.monotonic() - began)
            return taken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=40)
    taken = measure(parser.parse_args().kills)
    print(
        f"{len(taken)} kills: half of them {statistics.median(taken):.2f} s, "
        f"longest {max(taken):.2f} s, shortest {min(taken):.2f} s"
    )


if __name__ == "__main__":
    main()
