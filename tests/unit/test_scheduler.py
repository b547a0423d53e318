"""Which port a start gets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.errors import NoFreeCard
from manager.records import Instance
from manager.scheduler import choose
from manager.states import STARTABLE, State


def make_row(port: int, state: State = State.IDLE, ready_at: float | None = None) -> Instance:
    """Make a row of the port table."""
    return Instance(port, state, None, None, None, None, None, None, ready_at, None, None, None, 0)


ROWS = st.lists(
    st.builds(make_row, st.integers(8001, 8016), st.sampled_from(State)),
    unique_by=lambda row: row.port,
)

TAKEN = st.dictionaries(st.integers(8001, 8016), st.just("taken"))


@given(ROWS, TAKEN)
def test_any_gives_a_free_port_exactly_when_there_is_one(
    rows: list[Instance], unavailable: dict[int, str]
) -> None:
    free = {r.port for r in rows if r.state in STARTABLE and r.port not in unavailable}
    if free:
        assert choose(rows, None, unavailable).port in free
    else:
        with pytest.raises(NoFreeCard) as refusal:
            choose(rows, None, unavailable)
        assert refusal.value.key == "no_free_card.all"


@given(ROWS, st.integers(8001, 8016), TAKEN)
def test_an_assigned_port_and_no_other(
    rows: list[Instance], port: int, unavailable: dict[int, str]
) -> None:
    try:
        assert choose(rows, port, unavailable).port == port
    except NoFreeCard as refusal:
        held = [r for r in rows if r.port == port]
        if not held:
            assert refusal.reason == "removed"
        elif held[0].state in STARTABLE:
            assert refusal.reason == "unavailable"
        else:
            assert refusal.reason == "assigned"


def test_the_port_that_rested_longest_comes_first() -> None:
    rows = [make_row(8001, ready_at=300.0), make_row(8002, ready_at=100.0), make_row(8003)]
    assert choose(rows, None).port == 8003
    assert choose([replace(rows[0]), rows[1]], None).port == 8002
