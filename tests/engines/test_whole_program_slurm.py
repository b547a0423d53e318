"""The whole program over a real Slurm of two machines: real Caddy, real pages, real jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from manager.addresses import Address
from tests.engines.test_whole_program import LONG_S, House, work
from tests.support.chaos import row_of
from tests.support.slurm_cluster import ADDRESSES, SlurmCluster, slurm_cluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[SlurmCluster]:
    (tmp_path / "slurm").mkdir()
    with slurm_cluster(tmp_path / "slurm") as cluster:
        yield cluster


def test_a_day_on_two_machines(tmp_path: Path, slurm: SlurmCluster, stack: ExitStack) -> None:
    house = House(tmp_path / "house", slurm, stack)
    first, free = house.a.start(), house.d.start()
    assert first["node"] == slurm.nodes[0]
    assert house.card_of(first["port"]) != house.card_of(free["port"])
    row = row_of(house.manager, first["port"])
    address = Address.parse(row["address"])
    assert address is not None
    assert (address.host, address.pinned) == (ADDRESSES[0], True)
    work(stack, first)

    # A controller that is killed takes no work with it, and a manager beside it none either.
    slurm.wait_until_saved()
    slurm.controller.kill("slurmctld")
    house.until_told(lambda cluster: not cluster["answers"])
    assert house.c.ask("POST", "/api/user/start").status_code == 409
    house.manager.kill()
    house.manager.start()
    assert house.a.state()["instance"]["workspace_url"] == first["workspace_url"]
    work(stack, first)
    slurm.begin_controller()
    slurm.wait_until_whole()
    house.until_told(lambda cluster: cluster["answers"])
    other = house.c.start()
    assert other["node"] == slurm.nodes[1]
    work(stack, other)

    # slurmd and all below it are killed: nothing of the launch is left to be proven but by a job.
    slurm.machines[slurm.nodes[1]].end()
    wait_until(lambda: not house.launched(other["port"]), LONG_S, "nothing of it is left")
    slurm.begin_machine(slurm.nodes[1])
    slurm.wait_until_whole()
    house.c.until_gone()
    again = house.c.start()
    assert row_of(house.manager, again["port"])["launch_id"] != row["launch_id"]

    for user in (house.a, house.c, house.d):
        user.stop()
    wait_until(lambda: not house.launched(), LONG_S, "nothing is left on the machines")
