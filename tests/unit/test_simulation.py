"""The week's simulation in small: counts, not times; and that it would see what it looks for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.queueing import Demand, first_come, jain, shortest_first
from bench.simulate_week import SCENARIOS, demands_of, figures
from bench.week import Week, week
from bench.week_ledger import Asked, Outcome, Scenario
from bench.week_run import FIRST_PORT, Simulation

USERS, CARDS, DAYS = 18, 2, 2
PORTS = [FIRST_PORT + number for number in range(CARDS)]
CALM = Scenario("no delays", line_start="automatic", assigned=False, attentive=True)


@pytest.fixture(scope="module")
def busy() -> Week:
    return week(7, USERS, PORTS, DAYS, sessions_a_day=4)


def played(folder: Path, of: Week, scenario: Scenario) -> tuple[Outcome, float]:
    simulation = Simulation(folder, of, scenario, USERS, CARDS)
    return simulation.run(), simulation.settings.idle_timeout


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)
def test_no_card_is_held_twice_and_nobody_starves(
    tmp_path: Path, busy: Week, scenario: Scenario
) -> None:
    outcome, _ = played(tmp_path, busy, scenario)
    assert (outcome.double_holds, outcome.starved, outcome.passed_over) == (0, 0, 0)
    # Each wish is accounted for.
    assert len(outcome.asked) + outcome.busy_already == len(busy.wishes)
    ends = [
        one.over or ("served" if one.started_at is not None else "lost") for one in outcome.asked
    ]
    assert "lost" not in ends
    assert ends.count("served") > len(busy.wishes) / 4
    waited = [one for one in outcome.asked if one.joined_at is not None]
    assert len(waited) > len(outcome.asked) / 4


def test_without_delays_everybody_waits_as_long_as_theory_says(tmp_path: Path, busy: Week) -> None:
    outcome, idle_limit = played(tmp_path, busy, CALM)
    demands = demands_of(outcome, idle_limit)
    asked = sorted(outcome.asked, key=lambda one: one.wish.at)
    assert len(demands) == len(asked)
    for one, wait in zip(asked, first_come(demands, CARDS), strict=True):
        assert one.wait == (None if wait is None else pytest.approx(wait, abs=1e-3))


@pytest.fixture
def ledger(tmp_path: Path) -> Simulation:
    return Simulation(tmp_path, Week((), {}), CALM, USERS, CARDS)


def test_the_ledger_sees_a_double_hold(ledger: Simulation, busy: Week) -> None:
    row = ledger.house.run(ledger.users[3])
    ledger._holding[row.port] = (5, 0.0)
    ledger._started(row, Asked(dataclasses.replace(busy.wishes[0], user=3)), there=0.0)
    assert ledger.outcome.double_holds == 1
    ledger.house.close()


def test_the_ledger_sees_who_is_passed_over(ledger: Simulation, busy: Week) -> None:
    wishes = [dataclasses.replace(busy.wishes[0], user=user) for user in (1, 2)]
    early, late = Asked(wishes[0], joined_at=10.0), Asked(wishes[1], joined_at=70.0)
    ledger._waiting = {1: early, 2: late}
    row = ledger.house.run(ledger.users[2])
    ledger._started(row, late, there=0.0)
    assert (ledger.outcome.passed_over, ledger.outcome.longest_pass) == (1, 60.0)
    ledger._events.clear()
    assert ledger.run().starved == 1


DEMANDS = st.lists(
    st.builds(Demand, st.integers(0, 5), st.floats(0, 5000), st.floats(1, 900), st.floats(0, 2000)),
    max_size=40,
)


@given(DEMANDS, st.integers(1, 4))
def test_theory_never_uses_more_cards_than_there_are(demands: list[Demand], cards: int) -> None:
    arrivals = sorted(demands, key=lambda one: one.at)
    for rule in (first_come, shortest_first):
        waits = rule(demands, cards)
        spans = [
            (one.at + wait, one.at + wait + one.hold)
            for one, wait in zip(arrivals, waits, strict=True)
            if wait is not None
        ]
        for begin, _ in spans:
            assert sum(a <= begin < b - 1e-6 for a, b in spans) <= cards
        served = zip(arrivals, waits, strict=True)
        assert all(0 <= wait <= one.patience for one, wait in served if wait is not None)


def test_the_recursion_by_hand() -> None:
    demands = [Demand(0, 0, 100, 999), Demand(1, 10, 50, 999), Demand(2, 20, 10, 30)]
    demands += [Demand(3, 30, 10, 999), Demand(4, 30, 1, 20)]
    assert first_come(demands, 1) == [0, 90, None, 120, None]
    assert first_come(demands, 2) == [0, 0, None, 30, None]
    assert shortest_first(demands, 1) == [0, 100, None, 70, None]


def test_fairness() -> None:
    assert jain([2, 2, 2]) == 1
    assert jain([6, 0, 0]) == pytest.approx(1 / 3)
    assert jain([0, 0]) == 1
    found = figures([(1, 0.0), (1, 120.0), (2, 0.0), (2, 0.0)])
    assert (found.mean, found.median, found.at_once, found.worst) == (0.5, 2.0, 0.75, 2.0)
