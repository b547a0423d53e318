"""The whole program over a real Ray of two machines: real Caddy, real pages, real jobs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from urllib3.exceptions import InsecureRequestWarning

from manager.addresses import Address
from manager.launcher.processes import MARKER
from tests.support.chaos import JOB, row_of
from tests.support.client import Client, Workspace, first_admin, new_user
from tests.support.ray_cluster import NODES, RayCluster, ray_cluster
from tests.support.server import ManagerProcess
from tests.support.slurm_cluster import SlurmCluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

ONE, TWO = NODES
LONG_S = 180.0

SETTINGS = {
    "CARD_KIND": "ascend",
    "CLUSTER_PYTHON": sys.executable,
    "COMFYUI_ARGS": "--demo-zero-boot",
    "START_TIMEOUT": "170",
    "STOP_TIMEOUT": "5",
    "LINE_START": "automatic",
}

Json = dict[str, Any]


class House:
    """A manager of two machines with its admin and users: a and b share a row, c has any."""

    def __init__(
        self, folder: Path, engine: RayCluster | SlurmCluster, stack: ExitStack, **settings: str
    ) -> None:
        told = {**SETTINGS, **engine.settings(), **settings}
        self.manager = ManagerProcess(folder, rows=3, settings=told)
        rows = zip(self.manager.env["PORTS"].split(","), (*engine.nodes, "any"), strict=True)
        self.manager.env["PORTS"] = ",".join(f"{row}::::{node}" for row, node in rows)
        stack.enter_context(self.manager)
        self.admin = stack.enter_context(first_admin(self.manager))
        first, second, third = self.manager.ports
        self.a = stack.enter_context(new_user(self.admin, "a", first))
        self.b = stack.enter_context(new_user(self.admin, "b", first))
        self.c = stack.enter_context(new_user(self.admin, "c", second))
        self.d = stack.enter_context(new_user(self.admin, "d", third))
        self.until_told(lambda cluster: cluster["answers"])

    def overview(self) -> Json:
        return self.admin.get("/api/admin/overview")

    def until_told(self, right: Any) -> Json:
        def told() -> Json | None:
            found: Json = self.overview()["cluster"]
            return found if right(found) else None

        return wait_until(told, LONG_S, "the engine is heard") or {}

    def node(self, name: str) -> Json:
        found: Json = next(n for n in self.overview()["cluster"]["nodes"] if n["name"] == name)
        return found

    def launched(self, port: int | None = None) -> list[psutil.Process]:
        """List the processes of launches, of those alone that a port has."""
        wanted = {path.name for path in (self.manager.data_dir / "runs").glob("*")}
        if port is not None:
            wanted &= {str(row_of(self.manager, port)["launch_id"])}
        return [one for one in psutil.process_iter() if _environ(one).get(MARKER) in wanted]

    def card_of(self, port: int) -> tuple[str, str]:
        """Give the machine and the card that the engine gave to what runs on a port."""
        address = Address.parse(row_of(self.manager, port)["address"])
        assert address is not None
        cards = {_environ(one).get("ASCEND_RT_VISIBLE_DEVICES") for one in self.launched(port)}
        (card,) = cards - {None}
        return address.host, str(card)


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return {} if zombie else process.environ()
    except (psutil.Error, OSError):
        return {}


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def ray(tmp_path: Path) -> Iterator[RayCluster]:
    (tmp_path / "ray").mkdir()
    with ray_cluster(tmp_path / "ray") as cluster:
        yield cluster


def start(user: Client) -> Json:
    """Start and wait until it runs: an engine takes its time on a busy machine."""
    user.post("/api/user/start")
    return running(user)


def running(user: Client) -> Json:
    """Wait until a user's instance runs, whoever began it."""

    def once() -> Json | None:
        state = user.state()
        assert state["phase"] not in {"failed", "stopping"}, state
        return state["instance"] if state["phase"] == "running" else None

    return wait_until(once, LONG_S, "the instance runs") or {}


def work(stack: ExitStack, instance: Json) -> Workspace:
    """Open a workspace through its gate and have a job done in it."""
    workspace = Workspace(instance["workspace_url"])
    stack.callback(workspace.close)
    assert workspace.entered.status_code == 200
    assert workspace.post("/prompt", {"prompt": JOB}).ok
    wait_until(lambda: workspace.get("/history").json(), what="the job is done")
    return workspace


def test_a_day_on_two_machines(tmp_path: Path, ray: RayCluster, stack: ExitStack) -> None:
    house = House(tmp_path / "house", ray, stack, IDLE_TIMEOUT="40")
    assert [n["name"] for n in house.overview()["cluster"]["nodes"]] == [ONE, TWO]

    # Each row on its machine, through Caddy, by https.
    first = start(house.a)
    assert first["node"] == ONE
    free = start(house.d)
    assert free["node"] in NODES
    assert house.card_of(first["port"]) != house.card_of(free["port"])
    row = row_of(house.manager, first["port"])
    address = Address.parse(row["address"])
    assert address is not None
    assert (address.host, address.pinned) == (ONE, True)
    with pytest.raises(requests.RequestException):
        requests.get(f"http://{address.authority}/queue", timeout=10)
    # Whose certificate it is does not matter here: nobody gets in without the secret.
    with pytest.warns(InsecureRequestWarning):
        strange = requests.get(f"https://{address.authority}/", timeout=10, verify=False)
    assert strange.status_code == 403
    work(stack, first)

    # A manager that is killed finds all again: same links, no second start.
    launch = row["launch_id"]
    house.manager.kill()
    house.manager.start()
    assert house.a.state()["instance"]["workspace_url"] == first["workspace_url"]
    assert row_of(house.manager, first["port"])["launch_id"] == launch
    work(stack, first)

    # Idle, ended, and its place is the next one's in line.
    house.b.post("/api/user/line")
    wait_until(partial(_has_nothing, house.a), LONG_S, "it is ended for want of work")
    state = house.a.state()
    assert state["last_usage"]["end_reason"] == "idle"
    second = running(house.b)
    assert (second["port"], second["node"]) == (first["port"], ONE)
    work(stack, second)
    house.b.stop()
    wait_until(partial(_has_nothing, house.d), LONG_S, "the other one, too")
    wait_until(lambda: not house.launched(), LONG_S, "nothing is left on the machines")


def test_a_machine_that_is_lost_gives_up_nothing_that_is_not_proven(
    tmp_path: Path, ray: RayCluster, stack: ExitStack
) -> None:
    house = House(tmp_path / "house", ray, stack)
    mine = start(house.c)
    other = start(house.a)
    assert (mine["node"], other["node"]) == (TWO, ONE)
    ray.worker.kill("raylet")
    # Its supervisor sees that what had started it is gone, and ends all of it.
    wait_until(lambda: not house.launched(mine["port"]), LONG_S, "nothing of it is left")
    house.until_told(lambda told: _standing(told, TWO) != "there")
    port = next(p for p in house.overview()["ports"] if p["port"] == mine["port"])
    assert TWO in port["unreachable"]
    wait_until(partial(_has_nothing, house.c), LONG_S, "it is proven gone")
    refused = house.c.ask("POST", "/api/user/start")
    assert refused.status_code == 409, refused.text
    # Whoever works elsewhere goes on working.
    work(stack, other)
    ray.worker.end()
    ray.begin_worker()
    house.until_told(lambda told: _standing(told, TWO) == "there")
    again = start(house.c)
    assert again["node"] == TWO
    house.c.stop()
    house.a.stop()
    wait_until(lambda: not house.launched(), LONG_S, "nothing is left on the machines")


def _has_nothing(user: Client) -> bool:
    return user.state()["instance"] is None


def _standing(cluster: Json, name: str) -> str:
    return next((str(n["standing"]) for n in cluster["nodes"] if n["name"] == name), "missing")


def test_a_head_that_is_lost_starts_nothing_and_gives_up_nothing(
    tmp_path: Path, ray: RayCluster, stack: ExitStack
) -> None:
    house = House(tmp_path / "house", ray, stack)
    users = (house.a, house.c)
    instances = [start(one) for one in users]
    launches = [row_of(house.manager, one["port"])["launch_id"] for one in instances]
    workspaces = [work(stack, one) for one in instances]

    ray.head.kill("gcs_server")
    house.until_told(lambda cluster: not cluster["answers"])
    assert house.b.state()["engine_silent"] is True
    assert house.d.ask("POST", "/api/user/start").status_code == 409
    # Ray's daemons end themselves about a minute later, and what they had started with them.
    for one, workspace in zip(instances, workspaces, strict=True):
        if house.launched(one["port"]):
            assert workspace.get("/queue").status_code == 200
    wait_until(lambda: not house.launched(), LONG_S, "nothing outlives the machines' daemons")

    ray.head.end()
    ray.worker.end()
    ray.begin()
    house.until_told(lambda told: {_standing(told, node) for node in NODES} == {"there"})
    for user in users:
        wait_until(partial(_has_nothing, user), LONG_S, "it is proven gone")
    again = [start(one) for one in users]
    assert not {row_of(house.manager, one["port"])["launch_id"] for one in again} & {*launches}
    assert house.card_of(again[0]["port"]) != house.card_of(again[1]["port"])
    for one in again:
        work(stack, one)
    for user in users:
        user.stop()
    wait_until(lambda: not house.launched(), LONG_S, "nothing is left on the machines")
