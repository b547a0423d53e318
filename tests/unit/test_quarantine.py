"""When a port is not yet free although its tree is gone, and what lives without a row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.cards import handles
from manager.errors import NoFreeCard, NotFound
from manager.launcher.devices import openers
from manager.launcher.protocol import LaunchSpec, Liveness, ProcessReport
from manager.records import User
from manager.states import State
from tests.support.house import House
from tests.support.stand_ins import IDLE


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path)
    yield built
    built.close()


@pytest.fixture
def ann(house: House) -> User:
    return house.user("ann", 8001)


def _stopped_with_a_stranger(house: House, user: User) -> None:
    row = house.run(user)
    house.lifecycle.stop(8001, by=user, reason="user")
    house.launcher.end(row.launch_id or "", -15)
    house.launcher.stranger = True
    assert house.step(8001) == "ending"


def _audit(house: House) -> list[str]:
    return [entry.action for entry in house.store.read(lambda t: t.audit.latest(20))]


def test_a_port_with_a_stranger_on_it_is_not_released_at_once(house: House, ann: User) -> None:
    _stopped_with_a_stranger(house, ann)
    assert house.row(8001).state is State.STOPPING
    house.launcher.stranger = False
    house.pass_time(1.0)
    house.step(8001)
    assert house.row(8001).state is State.IDLE
    assert house.lifecycle.quarantine.all() == []


def test_after_a_while_it_is_released_and_held_back(house: House, ann: User) -> None:
    _stopped_with_a_stranger(house, ann)
    house.pass_time(house.settings.quarantine_after - 0.1)
    assert house.step(8001) == "ending"
    house.pass_time(0.2)
    house.step(8001)
    assert house.row(8001).state is State.IDLE
    ((entry, clear),) = house.lifecycle.quarantine.all()
    assert (entry.port, entry.card, clear) == (8001, 1, False)
    assert "another program listens on port 8001" in entry.reason
    with pytest.raises(NoFreeCard) as refused:
        house.lifecycle.start(ann)
    assert (refused.value.reason, refused.value.params["why"]) == ("unavailable", entry.reason)
    assert "port_quarantine" in _audit(house)


def test_an_admin_releases_it_and_nobody_else(house: House, ann: User, tmp_path: Path) -> None:
    _stopped_with_a_stranger(house, ann)
    house.pass_time(31)
    house.step(8001)
    house.launcher.stranger = False
    house.lifecycle.look_around()
    assert [clear for _, clear in house.lifecycle.quarantine.all()] == [True]
    house.store.close()
    again = House(tmp_path)
    assert list(again.lifecycle.unavailable) == [8001]
    again.lifecycle.quarantine.release(8001, by=ann)
    assert again.lifecycle.unavailable == {}
    again.lifecycle.start(ann)
    assert "port_release" in _audit(again)
    with pytest.raises(NotFound):
        again.lifecycle.quarantine.release(8001, by=ann)
    again.close()


def test_a_death_with_a_stranger_on_the_port_keeps_its_fault(house: House, ann: User) -> None:
    row = house.run(ann)
    house.launcher.end(row.launch_id or "", -9)
    house.launcher.stranger = True
    assert house.step(8001) == "ending"
    assert house.row(8001).state is State.STOPPING
    house.pass_time(31)
    house.step(8001)
    after = house.row(8001)
    assert (after.state, after.stop_reason) == (State.FAILED, "died")
    assert "signal 9" in (after.fault or "")
    assert list(house.lifecycle.quarantine.unavailable) == [8001]


def test_an_open_node_of_the_card_holds_it_up(
    house: House, ann: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handles, "node", lambda kind, device: Path("/dev/zero"))
    row = house.run(ann)
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.end(row.launch_id or "", -15)
    with Path("/dev/zero").open("rb"):
        assert house.step(8001) == "ending"
        house.pass_time(31)
        house.step(8001)
    ((entry, _),) = house.lifecycle.quarantine.all()
    assert f"/dev/zero is still open in process {os.getpid()}" in entry.reason
    house.lifecycle.look_around()
    assert house.lifecycle.quarantine.all()[0][1]


def test_a_device_is_told_by_its_number_and_not_by_its_name(tmp_path: Path) -> None:
    with Path("/dev/full").open("rb"):
        assert os.getpid() in openers(Path("/dev/full"))
        link = tmp_path / "link"
        link.symlink_to("/dev/full")
        assert os.getpid() in openers(link)
    assert os.getpid() not in openers(Path("/dev/full"))
    assert openers(tmp_path / "missing") == []
    with (tmp_path / "file").open("w"):
        assert openers(tmp_path / "file") == []


@pytest.mark.parametrize(
    ("kind", "there"), [("ascend", True), ("cuda", True), ("rocm", False), ("cpu", False)]
)
def test_only_some_kinds_have_a_node_for_each_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, there: bool
) -> None:
    (tmp_path / "3").touch()
    monkeypatch.setattr(handles, "NODES", {k: str(tmp_path / "{}") for k in ("ascend", "cuda")})
    assert (handles.node(kind, 3) is not None) is there
    assert handles.node(kind, 4) is None


def _leave_behind(house: House, launch_id: str, **labels: str) -> None:
    house.launcher.specs[launch_id] = LaunchSpec(launch_id, ("x",), {}, Path("/"), 1, labels)
    house.launcher.reports[launch_id] = ProcessReport(Liveness.ALIVE, pid=4711)


def test_a_launch_of_no_row_is_shown_and_left_alive(house: House, ann: User) -> None:
    house.run(house.user("bob", 8002))
    _leave_behind(house, "lost", username="ann", user_id="7", port="8001", card="1")
    house.lifecycle.look_around()
    (one,) = house.lifecycle.leftovers.all()
    assert (one.launch_id, one.username, one.user_id) == ("lost", "ann", 7)
    assert (one.port, one.card, one.pid, one.since) == (8001, 1, 4711, 5000.0)
    assert house.launcher.stops == []
    with pytest.raises(NoFreeCard) as refused:
        house.lifecycle.start(ann)
    assert "leftover" in str(refused.value)


def test_what_nothing_is_known_of_is_shown_too(house: House, ann: User) -> None:
    _leave_behind(house, "lost", port="not a number")
    _leave_behind(house, "other", port="1")
    house.lifecycle.look_around()
    assert [one.port for one in house.lifecycle.leftovers.all()] == [None, None]
    assert house.lifecycle.unavailable == {}


def test_an_admin_ends_a_leftover_and_it_is_asked_until_it_is_gone(house: House, ann: User) -> None:
    _leave_behind(house, "lost", username="ann", port="8001")
    house.lifecycle.look_around()
    leftovers = house.lifecycle.leftovers
    leftovers.stop("lost", by=ann)
    assert leftovers.is_ending("lost")
    assert not leftovers.step()
    assert house.launcher.stops == [("lost", True)] * 2
    house.launcher.end("lost", -9)
    assert leftovers.step()
    assert leftovers.all() == []
    house.lifecycle.start(ann)
    assert "leftover_stop" in _audit(house)
    with pytest.raises(NotFound):
        leftovers.stop("lost", by=ann)


def test_an_adopted_launch_is_not_begun_anew_when_a_start_would_fail(
    house: House, ann: User, tmp_path: Path
) -> None:
    row = house.lifecycle.start(ann)
    house.step(8001)
    house.store.close()
    again = House(tmp_path)
    again.launcher.reports = house.launcher.reports
    again.launcher.specs = house.launcher.specs
    (tmp_path / "data" / "workspaces").rename(tmp_path / "data" / "moved")
    (tmp_path / "data" / "workspaces").touch()
    assert again.step(8001) == "launched"
    again.comfyui.answers[8001] = IDLE
    assert again.step(8001) == "ready"
    assert again.row(8001).launch_id == row.launch_id
    again.close()
