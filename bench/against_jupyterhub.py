"""The manager beside JupyterHub on this machine, in one run: one table with targets.

    venv/bin/python -m bench.against_jupyterhub [--quick] [--rows start,idle,…]

JupyterHub 6.1.1 with configurable-http-proxy 5.3.0, jupyterhub-idle-culler 2.0.0 and, before each
user's server, jhsingle-native-proxy 0.8.3, which is how it runs a program that knows nothing of it.
They are installed once, into ``~/.cache/comfyui-manager-bench`` (pip and npm; Node 20 or later).
Both start the same child, the demo. Everything is on loopback and ends with the run.

Where times are compared, both and the bare child take turns in random order, so that other work on
the machine falls on all; then only the ratios and the «met» of a quiet machine mean something.
Cells are medians, lowest and highest in brackets. With ``--quick`` it took 25 minutes on two busy
processors; each row is printed when it is there.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import websocket

from bench.peer import dying, install, living, starting
from bench.peer.sides import Run
from bench.peer.words import HEAD, Missing, Row, line

ROWS: dict[str, Callable[[Run], list[Row]]] = {
    "start": starting.starts,
    "ready": starting.readiness,
    "deaf": starting.deaf,
    "helpers": starting.helpers,
    "websockets": living.websockets,
    "idle": living.idle,
    "cull": living.culling,
    "crash": dying.manager_killed,
    "seen": dying.instance_killed,
    "install": dying.installed,
}

BROKEN = (
    AssertionError,
    LookupError,
    OSError,
    RuntimeError,
    Missing,
    psutil.Error,
    websocket.WebSocketException,
)
"""How a part can fail to be measured."""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument(
        "--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)}; in this order"
    )
    given = parser.parse_args()
    given.rows = given.rows.split(",")
    unknown = set(given.rows) - ROWS.keys()
    if unknown:
        parser.error(f"no such rows: {', '.join(sorted(unknown))}")
    return given


def machine() -> str:
    """Say when and where this is."""
    today = datetime.datetime.now(tz=datetime.timezone.utc).date()
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    python = platform.python_version()
    return f"{today}, {os.cpu_count()} x {model}, Linux {platform.release()}, Python {python}"


def main() -> None:
    """Measure and print."""
    given = arguments()
    print(machine(), flush=True)
    loads: list[float] = []
    measured = 0
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            run = Run(install.peer(), Path(folder), given.quick)
        except Missing as missing:
            raise SystemExit(f"JupyterHub cannot be installed here: {missing}") from None
        print(HEAD, flush=True)
        for name in given.rows:
            begun = time.monotonic()
            try:
                # Each is printed when it is there: the whole takes long, and may be interrupted.
                print("\n".join(map(line, ROWS[name](run))), flush=True)
                measured += 1
            except BROKEN as error:
                # The rest is worth its time all the same.
                print(f"{name} could not be measured: {error!r}", file=sys.stderr, flush=True)
            loads.append(os.getloadavg()[0])
            took = time.monotonic() - begun
            print(f"{name}: {took:.0f} s, load {loads[-1]:.1f}", file=sys.stderr, flush=True)
    print(f"Load average {min(loads):.0f} to {max(loads):.0f} meanwhile.")
    raise SystemExit(0 if measured == len(given.rows) else 1)


if __name__ == "__main__":
    main()
