"""Which free port is the best: reserved for one, well, cool, rested; and what is kept from him."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.errors import NoFreeCard
from manager.permits import Reservation
from manager.records import Instance, Waiting
from manager.scheduler import allot, choose, estimates
from manager.states import STARTABLE, State
from manager.terms import BAND_CELSIUS, Terms
from tests.unit.test_scheduler import ROWS, make_row

ANN, BOB = 1, 2
FOR_ANN = Reservation(8002, "root", 0.0, user_ids=frozenset({ANN}))
CLOSED = Reservation(8002, "root", 0.0, until=600.0)


def rows(*ready_at: float | None) -> list[Instance]:
    return [make_row(8001 + n, ready_at=at) for n, at in enumerate(ready_at)]


def waits(user_id: int, assigned: int | None = None) -> Waiting:
    return Waiting(user_id, user_id, f"u{user_id}", assigned, 0.0)


@pytest.mark.parametrize(
    ("temperature", "port"),
    [
        ({8001: 70.0, 8002: 45.0}, 8002),
        # Within a band noise decides nothing: the one that rested longest.
        ({8001: 45.0 + BAND_CELSIUS - 0.1, 8002: 45.0}, 8001),
        ({8001: 45.0 + BAND_CELSIUS, 8002: 45.0}, 8002),
        ({}, 8001),
        ({8001: 30.0}, 8001),
    ],
)
def test_the_markedly_hotter_card_comes_later(temperature: dict[int, float], port: int) -> None:
    terms = Terms(temperature=temperature)
    assert choose(rows(100.0, 200.0), None, terms=terms).port == port
    assert allot(rows(100.0, 200.0), [waits(ANN)], {}, terms) == {port: ANN}


def test_an_unknown_temperature_is_neither_hot_nor_cold() -> None:
    terms = Terms(temperature={8001: 80.0, 8003: 40.0, 8004: 60.0})
    strain = terms.strain((8001, 8002, 8003, 8004))
    assert strain[8003] < strain[8002] == strain[8004] < strain[8001]


def test_a_card_with_a_warning_comes_after_a_hot_one() -> None:
    terms = Terms(ailing={8001}, temperature={8001: 30.0, 8002: 90.0})
    assert choose(rows(None, None), None, terms=terms).port == 8002
    assert choose(rows(None), None, terms=terms).port == 8001


def test_a_reserved_port_is_for_those_it_is_for_and_for_nobody_else() -> None:
    terms = Terms({8002: FOR_ANN}, temperature={8001: 30.0, 8002: 90.0})
    # Although it is the hotter one: so the other is left for others.
    assert choose(rows(None, None), None, terms=terms, user_id=ANN).port == 8002
    assert choose(rows(None, None), None, terms=terms, user_id=BOB).port == 8001
    assert allot(rows(None, None), [waits(BOB), waits(ANN)], {}, terms) == {8001: BOB, 8002: ANN}
    with pytest.raises(NoFreeCard) as refusal:
        choose(rows(None, None), 8002, terms=terms, user_id=BOB)
    assert refusal.value.key == "no_free_card.reserved"
    only = [make_row(8002)]
    with pytest.raises(NoFreeCard) as refusal:
        choose(only, None, terms=terms, user_id=BOB)
    assert refusal.value.key == "no_free_card.all_reserved"
    assert allot(only, [waits(BOB)], {}, terms) == {}


def test_what_is_offered_is_withdrawn_when_it_is_reserved_for_others() -> None:
    line = [Waiting(1, BOB, "bob", None, 0.0, offered_port=8002)]
    assert allot([make_row(8002)], line, {}, Terms()) == {8002: BOB}
    assert allot([make_row(8002)], line, {}, Terms({8002: FOR_ANN})) == {}


@given(ROWS, st.sets(st.integers(8001, 8016)), st.sampled_from((None, 8001, 8002)))
def test_nobody_gets_what_is_reserved_for_others(
    table: list[Instance], reserved: set[int], assigned: int | None
) -> None:
    terms = Terms(
        {port: Reservation(port, "root", 0.0, user_ids=frozenset({ANN})) for port in reserved}
    )
    try:
        got = choose(table, assigned, terms=terms, user_id=BOB).port
    except NoFreeCard:
        free = {row.port for row in table if row.state in STARTABLE} - reserved
        assert not free & ({assigned} if assigned else free)
    else:
        assert got not in reserved


def test_an_estimate_waits_for_the_end_of_a_reservation() -> None:
    lengths = [60.0] * 5
    table, terms = [make_row(8002)], Terms({8002: CLOSED})
    line = [waits(ANN), waits(BOB)]
    assert estimates(table, line, {}, lengths, 100.0, terms).get(ANN) == (500.0, 500.0)
    assert estimates(table, line, {}, lengths, 100.0, terms).get(BOB) == (560.0, 560.0)
    for_ever = Terms({8002: Reservation(8002, "root", 0.0)})
    assert estimates(table, line, {}, lengths, 100.0, for_ever).get(ANN) is None
    assert for_ever.opens_in(8002, ANN, 0.0) == math.inf


def test_a_held_port_is_waited_for_until_it_is_free_and_open() -> None:
    running = Instance(
        8002, State.RUNNING, 9, "eve", None, "x", None, 0.0, 0.0, None, None, None, 0
    )
    found = estimates([running], [waits(ANN)], {}, [900.0] * 5, 100.0, Terms({8002: CLOSED})).get(
        ANN
    )
    assert found == (800.0, 800.0)
