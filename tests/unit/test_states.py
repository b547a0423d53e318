"""The state table: what it allows, and that it allows nothing else."""

from __future__ import annotations

import itertools

import pytest

from manager.errors import IllegalTransition
from manager.states import (
    HOLDS_PORT,
    STARTABLE,
    STOPPABLE,
    TRANSITIONS,
    Event,
    State,
    actions,
    advance,
)

ALL_PAIRS = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), ALL_PAIRS)
def test_only_the_pairs_of_the_table_are_moves(state: State, event: Event) -> None:
    if (state, event) in TRANSITIONS:
        assert advance(state, event) is TRANSITIONS[state, event]
    else:
        with pytest.raises(IllegalTransition):
            advance(state, event)


def test_the_table_has_ten_moves_of_thirty_five_pairs() -> None:
    assert (len(TRANSITIONS), len(ALL_PAIRS)) == (10, 35)


def test_a_port_is_let_go_only_by_what_proves_the_end() -> None:
    releasing = {
        event
        for (before, event), after in TRANSITIONS.items()
        if before in HOLDS_PORT and after not in HOLDS_PORT
    }
    assert releasing == {Event.DIED, Event.GONE, Event.GONE_FAULTY}


def test_buttons_follow_the_table() -> None:
    for state in State:
        assert ("start" in actions(state)) == (state in STARTABLE)
        assert ("stop" in actions(state)) == (state in STOPPABLE)
        assert ("open" in actions(state)) == (state is State.RUNNING)


def test_states_print_as_stored() -> None:
    assert f"{State.IDLE} {Event.GONE}" == "idle gone"
