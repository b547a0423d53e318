"""When a port is not yet free although its tree is gone, and what lives without a row."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from manager import cards
from manager.cards import handles, sampler
from manager.cards.reading import MIB, CardProcess, Reading, Unreadable
from manager.errors import NoFreeCard, NotFound
from manager.launcher.devices import openers
from manager.launcher.protocol import LaunchSpec, Liveness, ProcessReport
from manager.records import User
from manager.states import State
from tests.support.house import House
from tests.support.stand_ins import IDLE

CARD = Reading(0, "910B3", "ok", 3000 * MIB, 65536 * MIB, 0.0, 40.0, 90.0, ())
LEFT = replace(CARD, memory_used=12000 * MIB)


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


class Tool:
    """What the card's tool shows to the house's sampler."""

    def __init__(self, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
        self.house = house
        self.shown: Reading | str = CARD
        monkeypatch.setitem(sampler.READERS, "ascend", self.read)

    def read(self, run: object) -> list[Reading]:
        if isinstance(self.shown, str):
            raise Unreadable(self.shown)
        return [self.shown, *(replace(CARD, device=n) for n in range(1, 4))]

    def look(self, shown: Reading | str | None = None) -> None:
        self.shown = shown or self.shown
        self.house.pass_time(1.5)
        self.house.sampler.look()


@pytest.fixture
def ascend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tool]:
    built = House(tmp_path, CARD_KIND="ascend")
    tool = Tool(built, monkeypatch)
    tool.look()
    yield tool
    built.close()


def _stop_and_end(house: House, user: User) -> None:
    row = house.run(user)
    house.lifecycle.stop(8001, by=user, reason="user")
    house.launcher.end(row.launch_id or "", -15)


def test_a_card_is_looked_at_after_the_end_before_it_is_free(ascend: Tool) -> None:
    house = ascend.house
    _stop_and_end(house, house.user("ann", 8001))
    assert house.step(8001) == "ending"
    house.pass_time(2.0)
    assert house.step(8001) == "ending"
    ascend.look()
    assert house.step(8001) == "gone"
    assert house.row(8001).state is State.IDLE
    assert house.lifecycle.unavailable == {}


def test_memory_that_does_not_come_back_holds_the_port_back(ascend: Tool) -> None:
    house, ann = ascend.house, ascend.house.user("ann", 8001)
    _stop_and_end(house, ann)
    assert house.step(8001) == "ending"
    ascend.look(LEFT)
    for _ in range(3):
        assert house.step(8001) == "ending"
        house.pass_time(1.0)
    # The tool falls silent: what it saw stays true.
    ascend.look("npu-smi did not answer")
    assert house.step(8001) == "ending"
    house.pass_time(house.settings.quarantine_after)
    assert house.step(8001) == "gone"
    ((entry, clear),) = house.lifecycle.quarantine.all()
    assert entry.reason == (
        "the memory of device 0 is not back: 12000 MiB in use, 3000 MiB when idle"
    )
    assert not clear
    with pytest.raises(NoFreeCard) as refused:
        house.lifecycle.start(ann)
    assert refused.value.params["why"] == entry.reason
    house.lifecycle.look_around()
    assert house.lifecycle.quarantine.all() == [(entry, False)]
    ascend.look(CARD)
    house.lifecycle.look_around()
    assert house.lifecycle.quarantine.all() == [(entry, True)]
    house.lifecycle.quarantine.release(8001, by=ann)
    house.lifecycle.start(ann)


def test_memory_that_comes_back_late_is_waited_for(ascend: Tool) -> None:
    house = ascend.house
    _stop_and_end(house, house.user("ann", 8001))
    house.step(8001)
    ascend.look(LEFT)
    assert house.step(8001) == "ending"
    ascend.look(CARD)
    assert house.step(8001) == "gone"
    assert house.lifecycle.quarantine.all() == []


def test_a_tool_that_cannot_say_holds_nothing_up(ascend: Tool) -> None:
    house, ann = ascend.house, ascend.house.user("ann", 8001)
    _stop_and_end(house, ann)
    assert house.step(8001) == "ending"
    ascend.look("npu-smi ended with 187: dcmi module initialize failed. ret is -8005")
    assert house.step(8001) == "gone"
    assert house.lifecycle.unavailable == {}
    # Nor does one that never comes back with an answer at all.
    _stop_and_end(house, ann)
    assert house.step(8001) == "ending"
    house.pass_time(house.sampler.patience_s)
    assert house.step(8001) == "gone"
    assert house.lifecycle.quarantine.all() == []


def test_a_shutdown_waits_for_no_look(ascend: Tool) -> None:
    house = ascend.house
    row = house.run(house.user("ann", 8001))
    ascend.look(LEFT)
    house.lifecycle.stop_all()
    house.launcher.end(row.launch_id or "", -15)
    assert house.step(8001) == "gone"
    assert house.lifecycle.quarantine.all() == []
    # The next look finds what was left.
    ascend.look()
    assert [entry.port for entry, _ in house.lifecycle.quarantine.all()] == [8001]


def test_not_looked_yet_is_no_reason_to_hold_a_port_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, CARD_KIND="ascend", QUARANTINE_AFTER="0")
    tool = Tool(house, monkeypatch)
    _stop_and_end(house, house.user("ann", 8001))
    assert house.step(8001) == "ending"
    tool.look()
    assert house.step(8001) == "gone"
    assert house.lifecycle.quarantine.all() == []
    house.close()


def test_a_death_waits_for_a_look_too_and_keeps_its_fault(ascend: Tool) -> None:
    house = ascend.house
    row = house.run(house.user("ann", 8001))
    house.launcher.end(row.launch_id or "", -9)
    assert house.step(8001) == "ending"
    ascend.look()
    assert house.step(8001) == "gone"
    after = house.row(8001)
    assert (after.state, after.stop_reason) == (State.FAILED, "died")


def test_after_a_restart_a_silent_tool_clears_no_memory(ascend: Tool, tmp_path: Path) -> None:
    house, ann = ascend.house, ascend.house.user("ann", 8001)
    _stop_and_end(house, ann)
    house.step(8001)
    ascend.look(LEFT)
    house.step(8001)
    house.pass_time(31)
    assert house.step(8001) == "gone"
    house.store.close()
    again = House(tmp_path, CARD_KIND="ascend")
    assert [clear for _, clear in again.lifecycle.quarantine.all()] == [False]
    ascend.shown = "silent"
    again.sampler.look()
    again.lifecycle.look_around()
    assert [clear for _, clear in again.lifecycle.quarantine.all()] == [False]
    # The admin knows better: what is in use now is normal from here on.
    ascend.shown = LEFT
    again.sampler.look()
    again.lifecycle.quarantine.release(8001, by=ann)
    again.pass_time(1)
    again.sampler.look()
    assert again.lifecycle.quarantine.all() == []
    assert again.lifecycle.unavailable == {}
    again.close()


def test_a_strangers_card_is_not_given_out(ascend: Tool) -> None:
    house, ann = ascend.house, ascend.house.user("ann", 8001)
    ascend.house.sampler._host = True
    ascend.look(replace(LEFT, processes=(CardProcess(os.getpid(), 9000 * MIB, "python"),)))
    assert set(house.lifecycle.unavailable) == {8001}
    with pytest.raises(NoFreeCard) as refused:
        house.lifecycle.start(ann)
    assert f"process {os.getpid()}" in str(refused.value.params["why"])
    # Nobody can give that free by a button: the process has to end.
    assert house.lifecycle.quarantine.all() == []
    with pytest.raises(NotFound):
        house.lifecycle.quarantine.release(8001, by=ann)
    ascend.look(CARD)
    house.lifecycle.start(ann)


def test_memory_that_nobody_has_is_for_an_admin_to_judge(ascend: Tool) -> None:
    house, ann = ascend.house, ascend.house.user("ann", 8001)
    ascend.look(LEFT)
    assert [entry.port for entry, _ in house.lifecycle.quarantine.all()] == [8001]
    assert set(house.lifecycle.unavailable) == {8001}
    house.lifecycle.quarantine.release(8001, by=ann)
    assert house.lifecycle.unavailable == {}
    assert "port_release" in _audit(house)
    ascend.look()
    house.lifecycle.start(ann)


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


def _on_a_node(house: House, monkeypatch: pytest.MonkeyPatch, told: list[int] | None) -> None:
    """Have the port's card be another machine's, of whose holders ``told`` is known."""

    def holders(launch_id: str, device: Path) -> list[int] | None:
        # A node of this machine's says nothing of it.
        assert device == handles.any_of("ascend")
        return told

    row = replace(house.settings.row(8001), node="gpu-b")
    monkeypatch.setattr(type(house.settings), "row", lambda _settings, _port: row)
    monkeypatch.setattr(cards, "kind_in_force", lambda _settings: "ascend")
    monkeypatch.setattr(handles, "node", lambda kind, device: Path("/dev/zero"))
    monkeypatch.setattr(house.launcher, "holders", holders)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (None, "nobody can tell who has /dev/davinciN open"),
        ([4711], "/dev/davinciN is still open in process 4711"),
    ],
)
def test_a_card_elsewhere_is_free_only_when_its_machine_says_so(
    house: House,
    ann: User,
    monkeypatch: pytest.MonkeyPatch,
    told: list[int] | None,
    says: str,
) -> None:
    row = house.run(ann)
    _on_a_node(house, monkeypatch, told)
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.end(row.launch_id or "", -15)
    assert house.step(8001) == "ending"
    house.pass_time(31)
    house.step(8001)
    ((entry, _),) = house.lifecycle.quarantine.all()
    assert says in entry.reason


def test_a_card_elsewhere_that_nobody_holds_is_free(
    house: House, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = house.run(ann)
    _on_a_node(house, monkeypatch, [])
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.end(row.launch_id or "", -15)
    house.step(8001)
    assert house.row(8001).state is State.IDLE
