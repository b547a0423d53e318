"""What one manager costs with the cards of 10, 100 and 1,000 machines, each beside the smallest.

    venv/bin/python -m bench.many_nodes [--nodes 10 100 1000] [--cards 8]

There are no machines: the engine is what Ray's head says, as text, of so many nodes and jobs. All
the rest is real: the settings, the database, the pages as the program makes them, the file of the
gates, and a Caddy that takes it. Every card is held by somebody. For each size a process of its
own prints processor times (real ones of Caddy and the watch), sizes, and how many times as much
that is for each card as with the fewest
machines, which is what another machine can be compared by: 1.0 grows as the cluster does.

``watch`` is the longest: ``bench.watch_cost`` of as many instances as its machine has open files
for. Some five minutes in all; ``--no-watch`` leaves it out, ``--no-caddy`` the real Caddy.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manager import runtime

if TYPE_CHECKING:
    from manager.ports import PortRow
    from manager.settings import Settings
    from manager.store import Tables

ROUNDS = 5
PATIENCE_S = 180.0
"""For a size; what is not ready by then is said to be so."""

MOST_WATCHED = 2000
"""Instances that stand-ins answer for: two descriptors each in two processes."""

MOST_SERVED = 200
"""Rows of which Caddy is asked: with more a change takes longer than anybody waits."""

Found = dict[str, float]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--cards", type=int, default=8)
    parser.add_argument("--no-watch", action="store_true")
    parser.add_argument("--no-caddy", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def median_ms(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Give the median of some rounds' processor time, in ms: others' work does not count."""
    times = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        times.append((time.process_time() - begin) * 1000)
    return statistics.median(times)


def table(nodes: int, cards: int) -> str:
    """Write a port table of so many machines; ports are no matter of the machine that measures."""
    return ",".join(
        f"{10_000 + n}:{20_000 + n}:{40_000 + n}:{n + 1}::::10.{n // cards // 250}.0."
        f"{n // cards % 250 + 1}"
        for n in range(nodes * cards)
    )


def engine(nodes: int, cards: int, found: Found) -> None:
    """Measure one question to Ray: how all its jobs are, and which machines it has."""
    from manager.launcher.ray import words

    names = [f"10.{n // 250}.0.{n % 250 + 1}" for n in range(nodes)]
    jobs = json.dumps([_job(number, names[number // cards]) for number in range(nodes * cards)])
    states = json.dumps({"data": {"result": {"result": [_node(one, cards) for one in names]}}})
    found["engine look, KiB"] = len(jobs) / 1024
    found["engine look, ms"] = median_ms(
        lambda: [words.report(one) for one in (words.ours(json.loads(jobs), "m") or {}).values()]
    )
    found["engine nodes, KiB"] = len(states) / 1024
    found["engine nodes, ms"] = median_ms(lambda: words.nodes(json.loads(states), None))


def _job(number: int, host: str) -> dict[str, Any]:
    """Give a job as Ray 2.60 lists it."""
    name = f"{number:016x}"
    return {
        "type": "SUBMISSION",
        "job_id": f"{number:08x}",
        "submission_id": name,
        "driver_info": {"id": name, "node_ip_address": host, "pid": "4711"},
        "status": "RUNNING",
        "entrypoint": f"/opt/python3 -I -S /opt/manager/launcher/far/node.py /data/runs/{name}",
        "message": "Job is currently running.",
        "error_type": None,
        "start_time": 1_790_000_000_000,
        "end_time": 0,
        "metadata": {"comfyui-manager": "m", "label.manager": "comfyui-manager"},
        "runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "60"}},
        "driver_agent_http_address": f"http://{host}:52365",
        "driver_node_id": "f" * 56,
        "driver_exit_code": None,
    }


def _node(host: str, cards: int) -> dict[str, Any]:
    """Give a machine as Ray's state API lists it."""
    total = {"NPU": float(cards), "CPU": 192.0, "memory": 1e12, f"node:{host}": 1.0}
    return {
        "node_id": "f" * 56,
        "node_ip": host,
        "is_head_node": False,
        "state": "ALIVE",
        "state_message": None,
        "node_name": host,
        "resources_total": total,
        "labels": {"ray.io/node_id": "f" * 56},
        "start_time_ms": 1_790_000_000_000,
        "end_time_ms": 0,
    }


def cluster(nodes: int, cards: int, rows: tuple[PortRow, ...], found: Found) -> None:
    """Measure what is made of an answer of the engine."""
    from manager.cluster import Cluster
    from manager.launcher.engine import EngineFacts, EngineNode

    names = [f"10.{n // 250}.0.{n % 250 + 1}" for n in range(nodes)]
    told = tuple(
        EngineNode(one, one, True, {"ascend": cards}, {"ascend": cards // 2}) for one in names
    )
    facts = EngineFacts("ray", "2.60.0", True, told)
    asked = Cluster(rows, "ascend", lambda: facts)
    found["cluster, ms"] = median_ms(asked.look)
    assert not asked.unavailable


def database(of: Settings, found: Found) -> None:
    """Measure what the watch reads each second and one move."""
    from manager.data_dir import make_data_dir
    from manager.store import Store

    make_data_dir(of.data_dir)
    store = Store(of.database_path, 1)
    ports = [row.port for row in of.ports]
    store.write(lambda t: t.ports.ensure(ports))
    store.write(lambda t: occupy(t, ports))
    found["database: all held rows, ms"] = median_ms(
        lambda: store.read(lambda t: t.ports.holding())
    )
    row = store.read(lambda t: t.ports.get(ports[-1]))
    assert row is not None

    def note() -> None:
        store.write(
            lambda t: t.ports.note(row.port, row.launch_id or "", row.state, {"idle_count": 1})
        )

    found["database: a note of one row, ms"] = median_ms(note)
    store.close()


def occupy(t: Tables, ports: list[int]) -> None:
    """Note a user's running instance on each port."""
    for port in ports:
        _occupy(t, port)


def _occupy(t: Tables, port: int) -> None:
    from manager.states import State

    user_id = t.users.insert(
        f"u{port}", "h", is_admin=False, assigned_port=None, must_change_password=False
    )
    values: dict[str, object] = {
        "current_user_id": user_id,
        "current_username": f"u{port}",
        "launch_id": f"{port:016x}",
        "token": "t" * 32,
        "secret": "s" * 32,
        "started_at": time.time(),
        "ready_at": time.time(),
        "address": f"https://10.0.0.1:{port}",
    }
    t.ports.move(port, before=State.IDLE, after=State.RUNNING, values=values)


def pages(folder: Path, of: Settings, environ: dict[str, str], found: Found) -> None:
    """Measure the admins' page, and what is pushed to it and to a user when one row changes."""
    from manager.states import State
    from manager.web import views
    from manager.web.differences import difference
    from tests.support.web import Site

    site = Site(folder, **environ)
    owners = [site.house.accounts.add(100 + n, f"user{n}") for n in range(len(of.ports))]
    for row, owner in zip(of.ports, owners, strict=True):
        site.house.lifecycle.put(row.port, State.RUNNING, owner)
    found["overview, ms"] = median_ms(lambda: views.overview(site.house, 0), 3)
    before = views.overview(site.house, 0)
    found["overview, KiB"] = len(json.dumps(before)) / 1024
    site.house.lifecycle.put(of.ports[0].port, State.STOPPING, owners[0])
    after = views.overview(site.house, 0)
    found["overview: what differs, ms"] = median_ms(lambda: difference(before, after), 3)
    found["overview: what differs, KiB"] = len(json.dumps(difference(before, after))) / 1024
    visitor = site.visitor("admin")
    begin = time.process_time()
    page = visitor.get("/admin").data
    found["admins' page, ms"] = (time.process_time() - begin) * 1000
    found["admins' page, KiB"] = len(page) / 1024
    found["admins' page, packed KiB"] = len(gzip.compress(page, 6)) / 1024


def text_of_gates(of: Settings, found: Found) -> None:
    """Measure the file of the gates, all open."""
    from manager.gate.gate import new_token
    from manager.gate.render import Look, read_templates, render
    from tests.support.gate import opening

    templates, look = read_templates(), Look("127.0.0.1", 8880, cookie_secure=False, mark_key="k")
    openings = {row.port: opening(row.port, new_token(), new_token()) for row in of.ports}
    found["gates: text, ms"] = median_ms(lambda: render(of.ports, openings, look, templates), 3)
    found["gates: text, KiB"] = len(render(of.ports, openings, look, templates)) / 1024


def caddy(folder: Path, rows: int, found: Found) -> None:
    """Measure one change of one gate through a real Caddy with two sites for each card."""
    from manager import settings
    from manager.gate.gate import new_token
    from tests.support.gate import opening, project, running_gate

    project(folder, rows=1)
    of = settings.load({"PORTS": _on_loopback(rows), "GATE_HOST": "127.0.0.1"}, root=folder)
    last = of.ports[-1].port
    found["Caddy: rows"] = float(rows)
    begin = time.monotonic()
    with running_gate(of) as gate:
        found["Caddy: start, ms"] = (time.monotonic() - begin) * 1000
        begin = time.monotonic()
        gate.apply({last: opening(last, new_token())})
        found["Caddy: a change, ms"] = (time.monotonic() - begin) * 1000
        status = Path(f"/proc/{gate.watch().pid}/status").read_text()
        rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        found["Caddy: memory, MiB"] = int(rss.split()[1]) / 1024


def _on_loopback(rows: int) -> str:
    # Below the ports that connections of this machine take for themselves (32768 and up).
    return ",".join(f"{10_000 + n}:{13_000 + n}:{16_000 + n}:{n + 1}" for n in range(rows))


def watch(instances: int) -> Found:
    """Measure the watch of so many instances, each answered for by one stand-in."""
    from bench.watch_cost import part

    with (
        part("bench.watch_stand_ins", {"instances": instances, "kind": "idle"}) as stand_ins,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
    ):
        plan = {"ports": stand_ins["ports"], "seconds": 5.0, "kind": "idle", "mode": "eventlet"}
        with part("bench.watch_real", {**plan, "folder": folder}) as told:
            return {
                "watch: instances": float(instances),
                "watch: % of a processor": told["cpu"] / 5.0 * 100,
                "watch: late (p99), ms": told["p99"] * 1000,
                "watch: longest gap, s": told["longest_gap"],
                "watch: checks skipped": float(told.get("skipped", 0)),
            }


def one(options: argparse.Namespace) -> None:
    """Measure one size and print it as a line of JSON."""
    from manager import settings
    from manager.errors import GateFailed

    (nodes,), cards = options.nodes, options.cards
    found: Found = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        environ = {"LAUNCHER": "ray", "CARD_KIND": "ascend", "PORTS": table(nodes, cards)}
        found["settings, ms"] = median_ms(lambda: settings.load(environ, root=folder), 3)
        of = settings.load(environ, root=folder)
        engine(nodes, cards, found)
        cluster(nodes, cards, of.ports, found)
        database(of, found)
        text_of_gates(of, found)
        pages(folder / "pages", of, environ, found)
        print(json.dumps(found), flush=True)
        if not options.no_caddy:
            try:
                caddy(folder / "caddy", min(nodes * cards, MOST_SERVED), found)
            except GateFailed as error:
                print(f"{nodes} nodes: {error}", file=sys.stderr)
    if not options.no_watch:
        found |= watch(min(nodes * cards, MOST_WATCHED))
    print(json.dumps(found), flush=True)


def measured(nodes: int, options: argparse.Namespace) -> Found:
    """Have a process of its own measure one size; give what it has said when its time is over."""
    words = [sys.executable, "-W", "ignore", "-m", "bench.many_nodes", "--one"]
    words += ["--nodes", str(nodes), "--cards", str(options.cards)]
    words += ["--no-watch"] * options.no_watch + ["--no-caddy"] * options.no_caddy
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, timeout=PATIENCE_S, check=False)
        lines = done.stdout.splitlines()
    except subprocess.TimeoutExpired as late:
        lines = (late.stdout or b"").splitlines()
    found: Found = json.loads(lines[-1]) if lines else {}
    return found


def _size(name: str, found: Found, nodes: int) -> float:
    """Say how large a size is for a number: of Caddy and the watch as large as they were asked."""
    count = {"Caddy": "Caddy: rows", "watch": "watch: instances"}.get(name.partition(":")[0])
    return found.get(count, 1.0) if count else float(nodes)


def main() -> None:
    """Measure and print."""
    options = arguments()
    if options.one:
        runtime.setup("threading")
        one(options)
        return
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{os.cpu_count()} processors, load {loads}; {options.cards} cards a machine")
    sizes = {nodes: measured(nodes, options) for nodes in options.nodes}
    least = min(sizes)
    names = list(dict.fromkeys(name for found in sizes.values() for name in found))
    print(f"{'':32}" + "".join(f"{nodes:>12} nodes" for nodes in sizes))
    for name in names:
        cells = []
        for nodes, found in sizes.items():
            value, first = found.get(name), sizes[least].get(name)
            if value is None:
                cells.append(f"{'–':>18}")
                continue
            times = _size(name, found, nodes) / _size(name, sizes[least], least)
            ratio = value / first / times if first else float("nan")
            cells.append(f"{value:11.1f} ({ratio:4.2f})")
        print(f"{name:32}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
