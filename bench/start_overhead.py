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
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import requests

from manager import settings, workspace
from manager.launcher.command import build_command
from tests.support.client import Client, first_admin, new_user
from tests.support.server import ManagerProcess

LOOK_S = 0.005
ASK_S = 0.05
"""Between two questions to the manager: asked more often, it would take the CPU of the boot."""

PATIENCE_S = 300.0


def until(condition: Callable[[], bool]) -> float:
    """Wait until ``condition`` is true and give the seconds that took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > PATIENCE_S:
            raise TimeoutError("not within the time")
        time.sleep(LOOK_S)
    return time.monotonic() - begun


def answers(url: str) -> bool:
    """Tell whether a URL answers 200 now."""
    try:
        return bool(requests.get(url, timeout=5).ok)
    except requests.RequestException:
        return False


def bare(manager: ManagerProcess, folder: Path) -> tuple[float, float]:
    """Start and stop the child without the manager; give both times in seconds."""
    in_force = settings.load(manager.env)
    row = in_force.ports[0]
    files = workspace.prepare(in_force, "0-bench")
    command = build_command(in_force, row, "cpu", files, "bench", manager.env)
    with (folder / "bare.log").open("wb") as output:
        child = subprocess.Popen(
            command.argv, env=command.env, cwd=command.cwd, stdout=output, stderr=output
        )
    started = until(lambda: answers(f"http://127.0.0.1:{row.port}/queue"))
    child.send_signal(signal.SIGTERM)
    stopped = until(lambda: child.poll() is not None)
    return started, stopped


def listener(port: int) -> int:
    """Find who listens on a port."""
    for one in psutil.net_connections("tcp4"):
        if one.status == psutil.CONN_LISTEN and one.laddr[1:] == (port,) and one.pid:
            return int(one.pid)
    raise LookupError(port)


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process is gone, or only waits for its parent."""
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def managed(user: Client) -> tuple[float, float]:
    """Start and stop the child by the manager; give both times in seconds."""
    begun = time.monotonic()
    user.post("/api/user/start")
    state = user.state()
    while state["phase"] != "running":
        if time.monotonic() - begun > PATIENCE_S or state["phase"] == "failed":
            raise RuntimeError(f"the child does not run: {state}")
        time.sleep(ASK_S)
        state = user.state()
    url = state["instance"]["workspace_url"]
    until(lambda: answers(url))
    started = time.monotonic() - begun
    port = state["instance"]["port"]
    process = psutil.Process(listener(port))
    begun = time.monotonic()
    user.post("/api/user/stop")
    until(lambda: has_ended(process))
    until(lambda: requests.get(url, timeout=5).status_code == requests.codes.forbidden)
    stopped = time.monotonic() - begun
    user.until_gone()
    return started, stopped


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
            bare(manager, folder)
            pairs = [(bare(manager, folder), managed(user)) for _ in range(min(given.runs, 50))]
    print(f"{'':8}{'bare ms':>10}{'managed ms':>12}{'added ms':>10}{'ratio':>8}   n={len(pairs)}")
    for index, label in enumerate(("start", "stop")):
        alone = statistics.median(b[index] for b, _ in pairs) * 1000
        through = statistics.median(m[index] for _, m in pairs) * 1000
        print(f"{label:8}{alone:10.0f}{through:12.0f}{through - alone:10.0f}{through / alone:8.2f}")


if __name__ == "__main__":
    main()
