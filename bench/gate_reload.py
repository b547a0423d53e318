"""What a change of one gate costs, beside the bare call to Caddy, and what it does to the others.

``apply`` writes a draft, loads it, asks the gates from outside and renames the file; the bare call
is one ``POST /load`` of the same text. Prints ratios; the numbers themselves belong to the machine.

    venv/bin/python -m bench.gate_reload --rows 4 --changes 100 --websockets 50 --mode eventlet
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from manager import runtime


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--changes", type=int, default=100)
    parser.add_argument("--websockets", type=int, default=50)
    parser.add_argument("--mode", choices=runtime.MODES, default="threading")
    return parser.parse_args()


def cpu_s(pid: int) -> float:
    """Give the processor time a process has used, in seconds (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


Measured = tuple[float, float, float]
"""Median and 95th percentile in ms, and Caddy's processor time per change in ms."""


def measure(pid: int, tokens: list[str], change: Callable[[str], object]) -> Measured:
    """Time a change with each of the tokens."""
    times, before = [], cpu_s(pid)
    for token in tokens:
        begin = time.monotonic()
        change(token)
        times.append((time.monotonic() - begin) * 1000)
    cpu = (cpu_s(pid) - before) * 1000 / len(tokens)
    return statistics.median(times), statistics.quantiles(times, n=20)[18], cpu


def run(options: argparse.Namespace, folder: Path) -> None:
    """Measure and print."""
    from manager.gate import admin, caddyfile
    from manager.gate.gate import new_token
    from tests.support.gate import (
        echoes,
        open_websocket,
        opening,
        project,
        running_gate,
        upstream,
    )

    of = project(folder, rows=options.rows)
    first, last = of.ports[0], of.ports[-1]
    token = new_token()
    with running_gate(of) as gate, upstream(first.port):
        held_open = opening(first.port, token, new_token())
        gate.apply({first.port: held_open})
        cookie = [("Cookie", f"token_{first.port}={token}")]
        held = [
            open_websocket(first.workspace_port, "/ws", cookie) for _ in range(options.websockets)
        ]
        pid = gate.watch().pid or 0
        others = [new_token() for _ in range(options.changes)]
        applied = measure(
            pid,
            others,
            lambda t: gate.apply({first.port: held_open, last.port: opening(last.port, t)}),
        )
        home = of.data_dir / "caddy"
        door = admin.Door(home / "admin.sock", admin.read_secret(home / "admin_key"))
        text = caddyfile.with_secret(of.caddyfile.read_text(), door.secret)
        bare = measure(pid, others, lambda t: admin.load(door, text.replace(others[-1], t)))
        lost = sum(not echoes(sock) for sock in held)
        for sock in held:
            sock.close()
    tell(options, applied, bare, lost)


def tell(options: argparse.Namespace, applied: Measured, bare: Measured, lost: int) -> None:
    """Print both, their ratio, and how many websockets of another gate were lost."""
    print(f"{options.rows} rows, {options.changes} changes each way, mode {runtime.mode()}")
    for name, (median, high, cpu) in (("apply", applied), ("bare load", bare)):
        print(f"{name:10} median {median:6.1f} ms   p95 {high:6.1f} ms   Caddy CPU {cpu:5.1f} ms")
    print(f"ratio      median {applied[0] / bare[0]:6.2f}      p95 {applied[1] / bare[1]:6.2f}")
    of = f"{options.websockets} in {2 * options.changes} changes"
    print(f"websockets of another gate lost: {lost} of {of}")


def main() -> None:
    """Run in a folder of its own, which goes away afterwards."""
    options = arguments()
    runtime.setup(options.mode)
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder))


if __name__ == "__main__":
    main()
