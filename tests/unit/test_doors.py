"""Gates that are wanted in the same moment share what Caddy is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from manager.gate.opening import Opening
from manager.states import State
from tests.support.house import House
from tests.support.stand_ins import IDLE
from tests.support.waiting import wait_until


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    table = ",".join(f"{8000 + n}:{9000 + n}:{9080 + n}:{n}" for n in range(1, 9))
    built = House(tmp_path, PORTS=table)
    yield built
    built.close()


def test_many_that_become_ready_at_once_share_two_reloads(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is under way for the first; all who come meanwhile are in the next one."""
    let_on, served = threading.Event(), list[dict[int, Opening]]()

    def apply(openings: Mapping[int, Opening]) -> dict[int, str]:
        # As the real one: what is served already asks nothing of Caddy.
        if not served or served[-1] != openings:
            served.append(dict(openings))
            assert let_on.wait(30)
        return {}

    monkeypatch.setattr(house.gate, "apply", apply)
    ports = [row.port for row in house.settings.ports]
    for port in ports:
        house.lifecycle.start(house.user(f"user{port}", port))
        house.comfyui.answers[port] = IDLE
        assert house.step(port) == "launched"
    house.watch.tick(1000.0)
    wait_until(lambda: all(house.row(port).token for port in ports), what="all to be at the gate")
    assert len(served) <= 1
    let_on.set()
    wait_until(
        lambda: all(house.row(port).state is State.RUNNING for port in ports), what="all to run"
    )
    assert len(served) <= 2
    assert set(served[-1]) == set(ports)


@pytest.mark.parametrize("comes", [True, False], ids=["it is ready too", "it is not"])
def test_a_gate_waits_for_one_that_may_be_ready_in_the_same_moment(
    house: House, monkeypatch: pytest.MonkeyPatch, comes: bool
) -> None:
    monkeypatch.setattr("manager.lifecycle.doors.GATHER_S", 30.0)
    doors = house.lifecycle._steps.doors
    asking, asked, changes = threading.Event(), threading.Event(), list[bool]()

    def apply(_openings: Mapping[int, Opening]) -> dict[int, str]:
        changes.append(asked.is_set())
        return {}

    monkeypatch.setattr(house.gate, "apply", apply)
    waits, wait_for = list[bool](), doors._gathering.wait_for

    def noted(ready: Callable[[], bool], limit: float) -> bool:
        waits.append(ready())
        return wait_for(ready, limit)

    monkeypatch.setattr(doors._gathering, "wait_for", noted)

    def other() -> None:
        with doors.coming():
            asking.set()
            assert asked.wait(30)
            if comes:
                doors.open(8002)

    def first() -> None:
        with doors.coming():
            doors.open(8001)

    both = [threading.Thread(target=work) for work in (other, first)]
    both[0].start()
    assert asking.wait(30)
    both[1].start()
    wait_until(lambda: waits == [False], what="the first to wait at the gate")
    asked.set()
    for one in both:
        one.join(30)
    assert changes == [True] * (1 + comes)
    assert (doors._coming, doors._here) == (0, 0)


def test_a_gate_waits_only_so_long(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("manager.lifecycle.doors.GATHER_S", 0.0)
    doors = house.lifecycle._steps.doors
    with doors.coming(), doors.coming():
        doors.open(8001)
    assert len(house.gate.applied) == 1
