"""The lifecycle: each move by its cause, and what must never be skipped on the way."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from manager.errors import (
    AlreadyRunning,
    LostRace,
    NoFreeCard,
    NotPermitted,
    NotRunning,
    SettingsError,
)
from manager.gate.opening import Opening
from manager.launcher.protocol import Liveness
from manager.records import Address, User
from manager.states import State
from tests.support.gate import opening
from tests.support.house import House
from tests.support.stand_ins import BUSY, IDLE, UNKNOWN


@pytest.fixture
def ann(house: House) -> User:
    return house.user("ann")


def test_a_start_only_reserves(house: House, ann: User) -> None:
    row = house.lifecycle.start(ann)
    assert (row.state, row.user_id, row.token) == (State.STARTING, ann.id, None)
    assert not house.launcher.specs
    assert not house.gate.applied
    assert house.published == [(frozenset({8001}), frozenset({ann.id}))]


def test_start_then_ready(house: House, ann: User) -> None:
    row = house.run(ann)
    assert row.state is State.RUNNING
    assert row.process_id == 4001
    assert house.gate.open == {8001: opening(8001, row.token or "", row.secret, row.user_id or 0)}
    spec = house.launcher.specs[row.launch_id or ""]
    assert "--port" in spec.argv
    assert (house.settings.data_dir / "workspaces").exists()


def test_every_start_has_its_own_token(house: House, ann: User) -> None:
    first = house.run(ann)
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.end(first.launch_id or "", -15)
    house.step(8001)
    second = house.run(ann)
    assert first.token != second.token
    assert first.launch_id != second.launch_id


def test_it_is_not_ready_while_it_is_silent(house: House, ann: User) -> None:
    house.lifecycle.start(ann)
    house.step(8001)
    assert house.step(8001) == "loading"
    assert house.row(8001).state is State.STARTING
    assert house.gate.open == {}


def test_a_stranger_that_answers_gets_no_gate(house: House, ann: User) -> None:
    house.lifecycle.start(ann)
    house.step(8001)
    house.launcher.stranger = True
    house.comfyui.answers[8001] = IDLE
    assert house.step(8001) == "loading"
    assert house.gate.open == {}
    assert house.comfyui.shown == []


def test_every_start_has_its_own_secret_and_nobody_reads_it_by_chance(
    house: House, ann: User
) -> None:
    first = house.run(ann)
    spec = house.launcher.specs[first.launch_id or ""]
    assert first.secret
    assert (spec.guard, spec.secret) == ("aiohttp", first.secret)
    for text in (repr(first), repr(spec), repr(spec.argv), repr(dict(spec.env))):
        assert first.secret not in text
        assert (first.token or "") not in text
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.end(first.launch_id or "", -15)
    house.step(8001)
    assert house.row(8001).secret is None
    second = house.run(ann)
    assert second.secret != first.secret
    assert set(house.comfyui.shown) == {first.secret, second.secret}


def test_an_instance_that_answers_strangers_is_ended_and_gets_no_gate(
    house: House, ann: User
) -> None:
    row = house.lifecycle.start(ann)
    house.step(8001)
    house.comfyui.answers[8001] = IDLE
    house.comfyui.refuses = False
    assert house.step(8001) == "ending"
    assert house.gate.open == {}
    assert house.comfyui.shown == []
    house.step(8001)
    house.launcher.end(row.launch_id or "", -15)
    house.step(8001)
    usage = house.lifecycle.last_usage(ann.id)
    assert usage is not None
    assert usage.end_reason == "launch_failed"
    assert "answers without its secret" in (usage.fault or "")


def test_without_an_answer_to_a_stranger_nothing_is_proven(house: House, ann: User) -> None:
    house.lifecycle.start(ann)
    house.step(8001)
    house.comfyui.answers[8001] = IDLE
    house.comfyui.refuses = None
    assert house.step(8001) == "loading"
    assert house.gate.open == {}


def _forget_secret(house: House) -> None:
    """Make the row what a version without guard has left behind."""
    row = house.row(8001)
    values: dict[str, object] = {"secret": None}
    house.store.write(lambda t: t.ports.note(8001, row.launch_id or "", row.state, values))


def test_an_instance_started_before_there_was_a_guard_keeps_working(
    house: House, ann: User
) -> None:
    row = house.lifecycle.start(ann)
    house.step(8001)
    _forget_secret(house)
    house.comfyui.refuses = False
    house.comfyui.answers[8001] = IDLE
    assert house.step(8001) == "ready"
    row = house.row(8001)
    assert house.gate.open == {8001: opening(8001, row.token or "", None, row.user_id or 0)}
    assert house.lifecycle.stop_if_idle(row) is IDLE


def test_nothing_is_launched_without_a_secret(house: House, ann: User) -> None:
    house.lifecycle.start(ann)
    _forget_secret(house)
    house.step(8001)
    assert house.launcher.specs == {}
    assert "earlier version" in (house.row(8001).fault or "")


def test_a_taken_port_fails_at_once_and_says_so(house: House, ann: User) -> None:
    house.launcher.stranger = True
    house.lifecycle.start(ann)
    house.step(8001)
    row = house.row(8001)
    assert (row.state, row.user_id) == (State.FAILED, None)
    assert "port 8001 is taken" in (row.fault or "")
    assert not house.launcher.specs


def test_a_launch_that_is_refused_fails_with_the_reason(house: House, ann: User) -> None:
    house.launcher.refuse = "there is no python"
    house.lifecycle.start(ann)
    house.step(8001)
    usage = house.lifecycle.last_usage(ann.id)
    assert usage is not None
    assert (usage.end_reason, usage.fault) == ("launch_failed", "there is no python")
    assert house.lifecycle.of_user(ann.id) is None


def test_a_death_while_starting_keeps_code_and_last_lines(house: House, ann: User) -> None:
    row = house.lifecycle.start(ann)
    house.step(8001)
    house.launcher.output = "Traceback\nAssertionError: Torch not compiled with CUDA enabled"
    house.launcher.end(row.launch_id or "", 1)
    house.step(8001)
    failed = house.row(8001)
    assert failed.state is State.FAILED
    assert (failed.fault or "").startswith("exit code 1\nTraceback")


def test_a_killed_instance_is_seen_and_its_gate_closed_first(house: House, ann: User) -> None:
    row = house.run(ann)
    house.launcher.end(row.launch_id or "", -9)
    house.gate.broken = True
    assert house.step(8001) == "closing"
    assert house.row(8001).state is State.RUNNING
    house.gate.broken = False
    house.pass_a_second()
    house.step(8001)
    assert house.row(8001).state is State.FAILED
    assert "signal 9" in (house.row(8001).fault or "")
    assert house.gate.open == {}


def test_an_instance_without_its_supervisor_works_on_and_says_so(house: House, ann: User) -> None:
    row = house.run(ann)
    alive = house.launcher.reports[row.launch_id or ""]
    house.launcher.reports[row.launch_id or ""] = dataclasses.replace(alive, supervised=False)
    assert house.step(8001) == "ready"
    after = house.row(8001)
    assert (after.state, after.token) == (State.RUNNING, row.token)
    assert "its supervisor was killed" in (after.fault or "")
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.end(row.launch_id or "", -15)
    house.step(8001)
    assert (house.row(8001).state, house.row(8001).fault) == (State.IDLE, None)


def test_a_look_at_the_gates_in_between_does_not_open_a_dead_one_again(
    house: House, ann: User
) -> None:
    row = house.run(ann)
    house.launcher.end(row.launch_id or "", -9)
    real = house.comfyui.forget

    def forget(address: Address | None) -> None:
        # What the watch does each second, at the worst moment: closed, but not moved yet.
        house.lifecycle.keep_doors()
        real(address)

    house.comfyui.forget = forget  # type: ignore[method-assign]
    house.step(8001)
    assert house.row(8001).state is State.FAILED
    assert house.gate.open == {}


def test_no_answer_in_time_is_a_fault(house: House, ann: User) -> None:
    row = house.lifecycle.start(ann)
    house.step(8001)
    house.pass_time(house.settings.start_timeout + 1)
    assert house.step(8001) == "ending"
    assert house.row(8001).state is State.STOPPING
    house.launcher.end(row.launch_id or "", -15)
    house.step(8001)
    assert house.row(8001).state is State.FAILED
    usage = house.lifecycle.last_usage(ann.id)
    assert usage is not None
    assert usage.end_reason == "overdue"


def test_a_stop_closes_the_gate_before_it_asks_the_process(house: House, ann: User) -> None:
    house.run(ann)
    row = house.lifecycle.stop(8001, by=ann, reason="user")
    assert not house.launcher.stops
    assert house.step(8001) == "ending"
    assert house.gate.open == {}
    assert house.launcher.stops == [(row.launch_id, False)]


def test_a_port_is_not_freed_while_the_tree_lives(house: House, ann: User) -> None:
    row = house.run(ann)
    house.lifecycle.stop(8001, by=ann, reason="user")
    for _ in range(5):
        house.step(8001)
    assert house.row(8001).state is State.STOPPING
    with pytest.raises(AlreadyRunning):
        house.lifecycle.start(ann)
    house.launcher.reports[row.launch_id or ""] = house.launcher.reports[
        row.launch_id or ""
    ].__class__(Liveness.UNKNOWN)
    house.step(8001)
    assert house.row(8001).state is State.STOPPING


def test_a_port_is_not_freed_while_its_gate_is_open(house: House, ann: User) -> None:
    row = house.run(ann)
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.end(row.launch_id or "", -15)
    house.gate.broken = True
    assert house.step(8001) == "closing"
    assert house.row(8001).state is State.STOPPING
    house.gate.broken = False
    house.pass_a_second()
    house.step(8001)
    assert house.row(8001).state is State.IDLE


def test_the_kill_comes_at_the_deadline_and_not_before(house: House, ann: User) -> None:
    house.run(ann)
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.step(8001)
    house.pass_time(house.settings.stop_timeout - 0.1)
    house.step(8001)
    assert [force for _, force in house.launcher.stops] == [False]
    house.pass_time(0.2)
    house.pass_a_second()
    house.step(8001)
    assert [force for _, force in house.launcher.stops] == [False, True]


def test_a_gate_that_does_not_open_keeps_it_starting(house: House, ann: User) -> None:
    house.lifecycle.start(ann)
    house.comfyui.answers[8001] = IDLE
    house.step(8001)
    house.gate.broken = True
    assert house.step(8001) == "opening"
    assert house.row(8001).state is State.STARTING


def test_idle_stop_asks_once_more_behind_a_closed_gate(house: House, ann: User) -> None:
    row = house.run(ann)
    opened_while_asked: list[dict[int, Opening]] = []
    real = house.comfyui.queue

    def queue(address: Address | None, secret: str | None, *, fresh: bool = False) -> object:
        opened_while_asked.append(house.gate.open)
        return real(address, secret, fresh=fresh)

    house.comfyui.queue = queue  # type: ignore[assignment]
    assert house.lifecycle.stop_if_idle(row) is IDLE
    assert opened_while_asked == [{}]
    assert house.row(8001).stop_reason == "idle"


@pytest.mark.parametrize("answer", [BUSY, UNKNOWN])
def test_idle_stop_gives_way_to_work_and_to_doubt(house: House, ann: User, answer: object) -> None:
    row = house.run(ann)
    house.comfyui.answers[8001] = answer  # type: ignore[assignment]
    assert house.lifecycle.stop_if_idle(row) is answer
    assert house.row(8001).state is State.RUNNING
    assert house.gate.open == {8001: opening(8001, row.token or "", row.secret, row.user_id or 0)}


def test_nobody_stops_anothers_instance(house: House, ann: User) -> None:
    house.run(ann)
    bob = house.user("bob")
    with pytest.raises(NotRunning):
        house.lifecycle.stop(8001, by=bob, reason="user")
    with pytest.raises(NotRunning):
        house.lifecycle.stop(8002, by=bob, reason="admin")
    assert house.lifecycle.stop(8001, by=bob, reason="admin").state is State.STOPPING


def test_a_second_stop_is_refused(house: House, ann: User) -> None:
    house.run(ann)
    house.lifecycle.stop(8001, by=ann, reason="user")
    with pytest.raises(NotRunning):
        house.lifecycle.stop(8001, by=ann, reason="user")


def test_a_stop_that_overtakes_the_opening_wins(house: House, ann: User) -> None:
    row = house.lifecycle.start(ann)
    house.comfyui.answers[8001] = IDLE
    house.step(8001)
    seen = house.row(8001)
    house.lifecycle.stop(8001, by=ann, reason="user")
    with pytest.raises(LostRace):
        house.lifecycle.step(seen)
    house.step(8001)
    assert house.gate.open == {}
    assert house.row(8001).launch_id == row.launch_id


def test_a_full_house_refuses(house: House, ann: User) -> None:
    for number in range(4):
        house.lifecycle.start(house.user(f"u{number}"))
    with pytest.raises(NoFreeCard):
        house.lifecycle.start(ann)


def test_without_caddy_a_start_is_refused_in_words(house: House, ann: User) -> None:
    house.gate.running = False
    with pytest.raises(NoFreeCard) as refusal:
        house.lifecycle.start(ann)
    assert refusal.value.key == "no_free_card.gate"
    assert house.lifecycle.of_user(ann.id) is None


def test_a_gate_that_never_opens_is_named_as_the_fault(house: House, ann: User) -> None:
    house.lifecycle.start(ann)
    house.comfyui.answers[8001] = IDLE
    house.step(8001)
    house.gate.broken = True
    assert house.step(8001) == "opening"
    house.pass_time(house.settings.start_timeout + 1)
    house.step(8001)
    assert (house.row(8001).fault or "").startswith("the gate does not open: Caddy does not run")


def test_a_user_holds_one_instance(house: House, ann: User) -> None:
    house.lifecycle.start(ann)
    with pytest.raises(AlreadyRunning):
        house.lifecycle.start(ann)


def test_a_disabled_user_does_not_start(house: House, ann: User) -> None:
    house.store.write(
        lambda t: t.users.set_rights(ann.id, is_admin=False, is_active=False, assigned_port=None)
    )
    with pytest.raises(NotPermitted):
        house.lifecycle.start(ann)


def test_a_restart_finds_what_runs_with_token_and_idle_time(
    house: House, ann: User, tmp_path: Path
) -> None:
    row = house.run(ann)
    house.lifecycle.book.note({row.launch_id or "": 37}, [])
    house.store.close()
    again = House(tmp_path)
    again.launcher.reports = house.launcher.reports
    again.launcher.specs = house.launcher.specs
    found = again.row(8001)
    assert (found.token, found.launch_id, found.idle_count) == (row.token, row.launch_id, 37)
    assert again.step(8001) == "ready"
    assert again.lifecycle.openings() == {
        8001: opening(8001, row.token or "", row.secret, row.user_id or 0)
    }
    again.close()


def test_a_restart_finishes_a_start_that_was_only_written(
    house: House, ann: User, tmp_path: Path
) -> None:
    row = house.lifecycle.start(ann)
    house.store.close()
    again = House(tmp_path)
    assert again.step(8001) == "launched"
    assert list(again.launcher.specs) == [row.launch_id]
    again.close()


def test_a_clock_set_forward_or_back_ends_no_start(house: House, ann: User) -> None:
    house.lifecycle.start(ann)
    for jump in (86_400, -172_800):
        house.clock.now += jump
        house.step(8001)
        assert house.step(8001) == "loading"
    house.monotonic.now += house.settings.start_timeout + 1
    assert house.step(8001) == "ending"


def test_a_clock_set_back_delays_no_kill(house: House, ann: User) -> None:
    row = house.run(ann)
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.clock.now -= 7200
    house.step(8001)
    house.monotonic.now += house.settings.stop_timeout + 0.1
    house.pass_a_second()
    house.step(8001)
    assert house.launcher.stops == [(row.launch_id, False), (row.launch_id, True)]


def test_a_restart_trusts_a_stored_deadline_within_its_bounds(
    house: House, ann: User, tmp_path: Path
) -> None:
    row = house.lifecycle.start(ann)
    house.step(8001)
    house.store.close()
    again = House(tmp_path)
    again.launcher.reports = house.launcher.reports
    again.launcher.specs = house.launcher.specs
    # The clock was set a day ahead meanwhile: a moment is left, and an answer comes first.
    again.clock.now = (row.deadline_at or 0) + 86_400
    assert again.step(8001) == "launched"
    assert again.step(8001) == "loading"
    again.monotonic.now += 11
    again.comfyui.answers[8001] = IDLE
    assert again.step(8001) == "ready"
    again.lifecycle.stop(8001, by=ann, reason="user")
    again.close()
    third = House(tmp_path)
    third.launcher.reports = house.launcher.reports
    # And a day back: no kill is put off for longer than it is ever given.
    third.clock.now -= 86_400
    third.step(8001)
    third.pass_a_second()
    third.monotonic.now += third.settings.stop_timeout + 0.1
    third.step(8001)
    assert third.launcher.stops[-1] == (row.launch_id, True)
    third.close()


def test_a_held_port_cannot_leave_the_table(house: House, ann: User, tmp_path: Path) -> None:
    house.run(ann)
    house.store.close()
    with pytest.raises(SettingsError, match="PORTS lacks 8001"):
        House(tmp_path, PORTS="8002:9002:9082:2")
    house.store = House(tmp_path).store


def test_every_move_is_in_the_audit(house: House, ann: User) -> None:
    row = house.run(ann)
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.end(row.launch_id or "", -15)
    house.step(8001)
    entries = house.store.read(lambda t: t.audit.latest(10))
    assert [(e.actor, e.action) for e in reversed(entries)] == [
        ("ann", "instance_start"),
        ("manager", "instance_answered"),
        ("ann", "instance_stop"),
        ("manager", "instance_gone"),
    ]
    assert row.token
    assert row.secret
    assert row.token not in repr(entries)
    assert row.secret not in repr(entries)
