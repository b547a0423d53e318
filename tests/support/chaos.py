"""What the chaos tests share: users who never rest, and the count of what must be true after."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from manager.launcher.local import LocalLauncher
from manager.launcher.run_dir import RunDir
from manager.records import Address
from tests.support.client import Client
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

SETTINGS = {"COMFYUI_ARGS": "--demo-zero-boot", "STOP_TIMEOUT": "2"}
JOB = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "t"}},
}
ASK_S = 10.0
SETTLE_S = 60.0

Json = dict[str, Any]


def rows(manager: ManagerProcess) -> list[sqlite3.Row]:
    """Read the port table beside the manager."""
    return query(manager, "SELECT * FROM port_status ORDER BY port")


def query(manager: ManagerProcess, statement: str) -> list[sqlite3.Row]:
    """Read from the database beside the manager."""
    path = manager.folder / "comfyui_manager.db"
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
        database.row_factory = sqlite3.Row
        return database.execute(statement).fetchall()


def row_of(manager: ManagerProcess, port: int) -> sqlite3.Row:
    """Read one port's row."""
    return next(row for row in rows(manager) if row["port"] == port)


def opens(url: str) -> int:
    """Follow a link once; the status it ends at."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=30).status_code


@dataclass
class Tally:
    """What one user did and saw."""

    starts: int = 0
    prompts: int = 0
    stops: int = 0
    unanswered: int = 0
    interrupted: int = 0
    lost: list[str] = field(default_factory=list)
    links: set[str] = field(default_factory=set)


class User(threading.Thread):
    """Starts, works and stops at random; notes whenever something he had is not there any more."""

    def __init__(self, client: Client, seed: int, rest: threading.Event) -> None:
        """Bind to a logged-in session."""
        super().__init__(daemon=True)
        self.client = client
        self.tally = Tally()
        self._chance = random.Random(seed)
        self._rest = rest
        self._mine: tuple[str, str, int] | None = None

    def run(self) -> None:
        """Go on until told to rest."""
        while not self._rest.is_set():
            state = self._ask("GET", "/api/user/state")
            if state is not None:
                self._take(state)
            self._rest.wait(self._chance.uniform(0.02, 0.3))

    def _take(self, state: Json) -> None:
        if state["phase"] == "running":
            self._work(state["instance"])
            return
        if self._mine:
            self.tally.lost.append(f"{self._mine} became {state}")
            self._mine = None
        if state["phase"] == "failed":
            self.tally.lost.append(f"failed: {state['last_usage']}")
        if state["instance"] is None:
            self.tally.starts += self._ask("POST", "/api/user/start") is not None

    def _work(self, instance: Json) -> None:
        url = instance["workspace_url"]
        row = row_of(self.client.manager, instance["port"])
        now = (url, str(row["launch_id"]), int(row["process_id"] or 0))
        if self._mine and now != self._mine:
            self.tally.lost.append(f"{self._mine} became {now}")
        self._mine = now
        self.tally.links.add(url)
        what = self._chance.random()
        if what < 0.5:
            self.tally.prompts += self._prompt(url)
        elif what < 0.8:
            # Whether it arrives or not: from here on nothing is promised.
            self._mine = None
            self.tally.stops += self._ask("POST", "/api/user/stop") is not None

    def _prompt(self, url: str) -> bool:
        # Caddy and ComfyUI do not depend on the manager: this must work at any moment.
        try:
            return self._prompt_once(url)
        except requests.RequestException:
            # While Caddy takes over a new configuration its old listener may drop a connection
            # that it has not accepted yet; the same link must serve the next one.
            self.tally.interrupted += 1
        try:
            return self._prompt_once(url)
        except requests.RequestException as error:
            self.tally.lost.append(f"{url}: {error!r}")
            return False

    def _prompt_once(self, url: str) -> bool:
        base = url.split("/?")[0]
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Connection"] = "close"
            entered = session.get(url, timeout=30)
            sent = session.post(
                f"{base}/prompt", json={"prompt": JOB}, headers={"Origin": base}, timeout=30
            )
        if entered.status_code != 200 or not sent.ok:
            self.tally.lost.append(f"{url}: {entered.status_code}, prompt {sent.status_code}")
        return sent.ok

    def _ask(self, method: str, path: str) -> Json | None:
        try:
            answer = self.client.session.request(
                method, f"{self.client.manager.url}{path}", timeout=ASK_S
            )
            return dict(answer.json()) if answer.ok else None
        except (requests.RequestException, ValueError):
            self.tally.unanswered += 1
            return None


def settle(manager: ManagerProcess) -> None:
    """Wait until nothing is half done any more."""
    wait_until(
        lambda: not {row["status"] for row in rows(manager)} & {"starting", "stopping"},
        SETTLE_S,
        "everything has settled",
    )


def account(manager: ManagerProcess, links: set[str]) -> list[str]:
    """Count what must be true once everything has settled; give what is not."""
    wrong = [str(row[0]) for row in query(manager, "PRAGMA integrity_check") if row[0] != "ok"]
    table = rows(manager)
    running = {row["launch_id"]: row for row in table if row["status"] == "running"}
    launcher = LocalLauncher(manager.data_dir / "runs")
    living = set(launcher.list())
    wrong += [f"orphan: launch {one}" for one in living - running.keys()]
    wrong += [f"lost: launch {one}" for one in running.keys() - living]
    for row in table:
        taken = launcher.taken(Address("127.0.0.1", row["port"]))
        if taken != (row["status"] == "running"):
            wrong.append(f"port {row['port']} is {row['status']}, listening: {taken}")
    wrong += _double_holds(manager)
    good = {_link(manager, row) for row in running.values()}
    wrong += [f"does not open: {url}" for url in good if opens(url) != 200]
    wrong += [f"still opens: {url}" for url in links - good if opens(url) != 403]
    return wrong


def _link(manager: ManagerProcess, row: sqlite3.Row) -> str:
    port = manager.workspace_ports[manager.ports.index(row["port"])]
    return f"http://127.0.0.1:{port}/?token_{row['port']}={row['token']}"


def _double_holds(manager: ManagerProcess) -> list[str]:
    """Find two sessions of use that had one port, or one user, at the same time."""
    pairs = query(
        manager,
        "SELECT a.launch_id AS one, b.launch_id AS other FROM usage a JOIN usage b "
        "ON a.launch_id < b.launch_id AND (a.port = b.port OR a.user_id = b.user_id) "
        "AND a.started_at < coalesce(b.ended_at, 9e99) "
        "AND b.started_at < coalesce(a.ended_at, 9e99)",
    )
    return [f"at the same time: {pair['one']} and {pair['other']}" for pair in pairs]


def supervisor_of(manager: ManagerProcess, launch_id: str) -> int:
    """Give the pid of a launch's supervisor."""
    chief, _ = RunDir(Path(manager.data_dir) / "runs" / launch_id).identities()
    assert chief is not None
    return chief.pid
