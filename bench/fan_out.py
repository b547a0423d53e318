"""What many open pages cost, and how soon each hears of a change, against a bare broadcaster.

    venv/bin/python -m bench.fan_out [--pages 500] [--admins 4] [--cards 16]

The real program, and in another process so many pages: Socket.IO clients over websocket, each with
a login of its own. Once a second an admin reserves a port or puts it back, which is news to every
page: one card more or less is there for it. ``bare`` is an asyncio program that, as often, sends
the same bytes to as many of the same clients, and knows nothing of who they are.

Prints the processor time of the measured program in percent of one core and for each page told, its
ratio to the bare one's, and the milliseconds from the change (before the admin's request is sent)
until a page has it: half of all, 99 %, the last. A page's own part is in both.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from flask import Flask

from bench.fan_out_bare import DIFFERENCE
from bench.idle_cost import spent
from bench.watch_cost import part
from manager.store.sessions import hash_of
from manager.web.app import COOKIE_NAME
from manager.web.cookies import Cookies
from manager.web.guard import SESSION_KEY
from tests.support.client import Client, first_admin
from tests.support.server import ManagerProcess

WARM_CHANGES = 4
EVERY_S = 1.0
AT_EASE = {"BUSY_SLOWDOWN": "1", "CONNECTIONS_PER_ADDRESS": "0"}
"""Told at full speed, though the clients keep the machine busy."""

DAY_S = 86_400.0

Json = dict[str, Any]


def cookies(manager: ManagerProcess, pages: int, admins: int) -> list[str]:
    """Make accounts with a login each, beside the manager, and give their cookies."""
    app = Flask("bench", static_folder=None)
    app.secret_key = (manager.data_dir / "secret_key").read_bytes()
    signer = Cookies().get_signing_serializer(app)
    assert signer is not None
    now, made = time.time(), []
    with closing(sqlite3.connect(manager.folder / "comfyui_manager.db", timeout=30)) as database:
        for number in range(pages):
            name, sid = f"page{number}", f"sid-{number}"
            added = database.execute(
                "INSERT INTO users (username, password_hash, is_admin, must_change_password) "
                "VALUES (?, 'none', ?, 0)",
                (name, number < admins),
            )
            database.execute(
                "INSERT INTO sessions (id_hash, user_id, created_at, expires_at, address) "
                "VALUES (?, ?, ?, ?, '127.0.0.1')",
                (hash_of(sid), added.lastrowid, now, now + DAY_S),
            )
            made.append(f"{COOKIE_NAME}={signer.dumps({SESSION_KEY: sid})}")
        database.commit()
    return made


def changes(change: Callable[[int], None], count: int) -> list[float]:
    """Make changes, one a second; give when each began (monotonic seconds)."""
    begun, due = [], time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, due - time.monotonic()))
        begun.append(time.monotonic())
        change(number)
        due += EVERY_S
    # The last one reaches its pages too.
    time.sleep(EVERY_S)
    return begun


def measure(plan: Json, pid: int, change: Callable[[int], None], seconds: int) -> Json:
    """Open the pages, make the changes, and give what they cost and when they were heard of."""
    with part("bench.fan_out_pages", plan) as opened:
        assert opened["pages"] == len(plan["cookies"]), opened
        changes(change, WARM_CHANGES)
        cpu = spent(pid)
        begun = changes(change, seconds)
        cpu = spent(pid) - cpu
        heard = Path(plan["folder"]) / "wanted"
        heard.touch()
        told = Path(plan["folder"]) / "told"
        while not told.exists():
            time.sleep(0.1)
        lines = [line.split() for line in told.read_text("utf-8").splitlines()]
    late = []
    for at in begun:
        first = [min((t for t in map(float, one) if t >= at), default=at + 60) for one in lines]
        late += [min(one, at + 60) - at for one in first]
    told_count = len(begun) * len(lines)
    return {
        "core": cpu / (len(begun) * EVERY_S),
        "each": cpu / told_count,
        "p50": statistics.median(late),
        "p99": statistics.quantiles(late, n=100, method="inclusive")[98],
        "max": max(late),
    }


def of_the_manager(pages: int, admins: int, rows: int, seconds: int) -> Json:
    """Measure the program."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as stack:
        manager = stack.enter_context(ManagerProcess(Path(name) / "m", rows=rows, settings=AT_EASE))
        admin: Client = stack.enter_context(first_admin(manager))
        plan = {
            "url": manager.url,
            "cookies": cookies(manager, pages, admins),
            "events": ["state_diff"],
            "folder": name,
        }
        path = f"/api/admin/ports/{manager.ports[0]}/reservation"

        def change(number: int) -> None:
            if number % 2:
                answer = admin.ask("DELETE", path, {})
            else:
                answer = admin.ask("PUT", path, {"user_ids": []})
            assert answer.ok, answer.text

        assert manager.process is not None
        return measure(plan, manager.process.pid, change, seconds)


def of_the_bare_one(pages: int, seconds: int) -> Json:
    """Measure the broadcaster."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        part("bench.fan_out_bare", {"pages": pages}) as bare,
    ):
        plan = {
            "url": bare["url"],
            "cookies": [""] * pages,
            "events": [DIFFERENCE[0]],
            "folder": name,
        }

        def change(_number: int) -> None:
            os.kill(bare["pid"], bare["signal"])

        return measure(plan, bare["pid"], change, seconds)


def main() -> None:
    """Measure both and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pages", type=int, default=500)
    parser.add_argument("--admins", type=int, default=4)
    parser.add_argument("--cards", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{os.cpu_count()} processors, load {loads}")
    print("pages            core   ratio  us/page     p50     p99     max")
    found = {
        "manager": of_the_manager(given.pages, given.admins, given.cards, given.seconds),
        "bare": of_the_bare_one(given.pages, given.seconds),
    }
    for name, one in found.items():
        late = "".join(f"{one[key] * 1000:8.0f}" for key in ("p50", "p99", "max"))
        print(
            f"{given.pages:5}  {name:8}{one['core']:6.1%}{one['core'] / found['bare']['core']:8.1f}"
            f"{one['each'] * 1e6:9.0f}{late}",
            flush=True,
        )


if __name__ == "__main__":
    main()
