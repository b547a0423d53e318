"""Ports that are reserved or out of use, on a real store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manager.cards.reading import Reading
from manager.cards.sampler import CardState
from manager.errors import BadInput, NoFreeCard, NotFound
from manager.launcher.protocol import Liveness, ProcessReport
from manager.records import User
from manager.states import State
from tests.support import web
from tests.support.house import House

TWO_PORTS = {"PORTS": "8001:9001:9081:1,8002:9002:9082:2"}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, **TWO_PORTS)
    yield built
    built.close()


@pytest.fixture
def people(house: House) -> list[User]:
    return [house.user("root"), house.user("ann"), house.user("bob", 8001)]


def reserve(
    house: House, port: int, *users: User, until: float | None = None, reason: str = ""
) -> None:
    ids = [user.id for user in users]
    house.lifecycle.reservations.reserve(port, ids, until, reason, by=web.user(0, "root"))


def refusal_of(house: House, user: User) -> str:
    with pytest.raises(NoFreeCard) as refusal:
        house.lifecycle.start(user)
    return refusal.value.key


def end(house: House, port: int) -> None:
    row = house.row(port)
    house.launcher.reports[row.launch_id or ""] = ProcessReport(Liveness.GONE, exit_code=0)
    house.step(port)


def audit(house: House) -> list[tuple[str, ...]]:
    rows = house.store.read(
        lambda t: t.audit._connection.execute(
            "SELECT actor, action, subject, detail FROM audit WHERE action LIKE 'port_%' "
            "ORDER BY id"
        ).fetchall()
    )
    return [tuple(row) for row in rows]


def test_what_runs_on_a_drained_port_goes_on_and_nothing_starts_after(
    house: House, people: list[User]
) -> None:
    root, ann, bob = people
    row = house.run(bob)
    reserve(house, 8001, reason="new fan")
    assert house.step(8001) == "ready"
    assert house.row(8001).state is State.RUNNING
    assert 8001 in house.gate.open
    house.lifecycle.stop(8001, by=bob, reason="user")
    end(house, 8001)
    assert refusal_of(house, bob) == "no_free_card.reserved"
    assert house.lifecycle.start(ann).port == 8002
    house.lifecycle.reservations.put_back(8001, by=root)
    assert house.lifecycle.start(bob).port == row.port
    assert audit(house) == [
        ("root", "port_reserve", "port 8001", "for nobody: new fan"),
        ("root", "port_put_back", "port 8001", ""),
    ]


def test_open_pages_hear_at_once_that_a_port_is_reserved_or_back(house: House) -> None:
    reserve(house, 8001)
    house.lifecycle.reservations.put_back(8001, by=web.user(0, "root"))
    assert house.published[-2:] == [(frozenset({8001}), frozenset())] * 2


def test_a_reserved_port_waits_for_those_it_is_for(house: House, people: list[User]) -> None:
    _, ann, bob = people
    reserve(house, 8002, ann)
    reserve(house, 8001)
    eve = house.user("eve")
    assert refusal_of(house, eve) == "no_free_card.all_reserved"
    for user in (eve, bob):
        house.lifecycle.line.join(user)
    house.lifecycle.serve_line()
    assert [one.offered_port for one in house.lifecycle.line.all()] == [None, None]
    assert house.lifecycle.start(ann).port == 8002
    # Both have kept their places.
    house.lifecycle.reservations.put_back(8001, by=ann)
    house.lifecycle.serve_line()
    offers = {one.username: one.offered_port for one in house.lifecycle.line.all()}
    assert offers == {"eve": 8001, "bob": None}


def test_an_offer_is_withdrawn_and_nobody_has_missed_anything(
    house: House, people: list[User]
) -> None:
    _, ann, bob = people
    house.run(house.user("eve"))
    house.lifecycle.line.join(ann)
    house.lifecycle.serve_line()
    (offered,) = house.lifecycle.line.all()
    assert offered.offered_port is not None
    reserve(house, offered.offered_port, bob if offered.offered_port == 8001 else house.user("x"))
    house.pass_time(1000)
    house.lifecycle.serve_line()
    (kept,) = house.lifecycle.line.all()
    assert (kept.offered_port, kept.missed_at) == (None, None)


def test_a_reservation_ends_by_itself(house: House, people: list[User]) -> None:
    _, _, bob = people
    reserve(house, 8001, until=house.clock.now + 60)
    house.lifecycle.line.join(bob)
    house.published.clear()
    house.pass_time(59)
    house.lifecycle.serve_line()
    assert [one.port for one in house.lifecycle.reservations.all()] == [8001]
    house.pass_time(1)
    house.lifecycle.serve_line()
    assert house.lifecycle.reservations.all() == []
    assert (frozenset({8001}), frozenset()) in house.published
    assert audit(house)[-1] == ("manager", "port_put_back", "port 8001", "")
    assert [one.offered_port for one in house.lifecycle.line.all()] == [8001]


def test_the_next_manager_keeps_it(house: House, people: list[User]) -> None:
    _, ann, bob = people
    reserve(house, 8001, ann)
    house.begins()
    assert refusal_of(house, bob) == "no_free_card.reserved"


def test_a_reservation_for_somebody_deleted_is_for_nobody(house: House, people: list[User]) -> None:
    _, ann, bob = people
    reserve(house, 8001, ann)
    house.store.write(lambda t: t.users.delete(ann.id))
    assert house.lifecycle.reservations.all()[0].user_ids == frozenset()
    assert refusal_of(house, bob) == "no_free_card.reserved"


def test_what_crashed_on_a_drained_port_is_not_started_again(tmp_path: Path) -> None:
    house = House(tmp_path, **TWO_PORTS, RESTART_POLICY="on-crash")
    bob = house.user("bob", 8001)
    row = house.run(bob)
    reserve(house, 8001)
    house.launcher.end(row.launch_id or "", 1)
    house.step(8001)
    house.pass_time(6)
    house.lifecycle.restart_due()
    restart = house.lifecycle.restart_of(bob.id)
    assert restart is not None
    assert restart.over == "taken"
    assert house.row(8001).state is State.FAILED
    house.close()


def test_what_makes_no_sense_is_refused(house: House, people: list[User]) -> None:
    root, _, bob = people
    kept = house.lifecycle.reservations
    with pytest.raises(BadInput) as refusal:
        reserve(house, 8002, bob)
    assert refusal.value.key == "bad_input.reserve_port"
    with pytest.raises(BadInput) as refusal:
        reserve(house, 8002, until=house.clock.now)
    assert refusal.value.key == "bad_input.until"
    for reason in ("two\nlines", "x" * 201):
        with pytest.raises(BadInput) as refusal:
            reserve(house, 8002, reason=reason)
        assert refusal.value.key == "bad_input.reason"
    with pytest.raises(NotFound):
        reserve(house, 8009)
    with pytest.raises(NotFound):
        kept.reserve(8002, [99], None, "", by=root)
    with pytest.raises(NotFound):
        kept.put_back(8002, by=root)
    assert kept.all() == []
    assert audit(house) == []


def test_how_the_cards_are_is_taken_from_the_last_look(house: House) -> None:
    hot = Reading(1, health="warning", temperature=71.0)
    states = house.sampler._states
    states[house.settings.row(8001).device] = CardState(hot, 0.0, known=hot)
    terms = house.lifecycle.reservations.terms()
    assert (set(terms.ailing), dict(terms.temperature)) == ({8001}, {8001: 71.0})
    ann = house.user("ann")
    assert house.lifecycle.start(ann).port == 8002
    # After a look that says nothing a warning stays until another one; a temperature does not.
    silent = Reading(1, unknown="the tool does not answer")
    states[house.settings.row(8001).device] = CardState(silent, 1.0, known=hot)
    terms = house.lifecycle.reservations.terms()
    assert (set(terms.ailing), dict(terms.temperature)) == ({8001}, {})
