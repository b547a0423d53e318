"""What is told and when: once until it is over, and never for a moment's sake."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from manager.alerts import CRASHES, Alerts, Facts, Rule, Seen, Thresholds, Told, observe

GIB = 1 << 30
QUIET = Facts(
    full=False,
    ports=2,
    line=0,
    held_back={},
    crashes={},
    disk_free=100 * GIB,
    gate_up=True,
    certificate_left=None,
)
LIMITS = Thresholds(full_s=900.0, line_length=5, disk_free=10 * GIB)

LOOKS = st.lists(
    st.tuples(st.floats(0.5, 200), st.sampled_from([True, True, False, False, None])), max_size=80
)


def words(told: list[Told]) -> list[tuple[str, str, bool]]:
    return [(one.event, one.subject, one.over) for one in told]


class House:
    """Looks at facts second by second, as the loop does."""

    def __init__(self, active: list[Told] | None = None) -> None:
        self.alerts = Alerts(LIMITS.rules(), active or [])
        self.now = 1000.0

    def look(self, seconds: float = 0.0, **changes: object) -> list[tuple[str, str, bool]]:
        self.now += seconds
        facts = dataclasses.replace(QUIET, **changes)  # type: ignore[arg-type]
        active = [(one.event, one.subject) for one in self.alerts.active]
        seen = observe(facts, LIMITS, active)
        return words(self.alerts.step(self.now, self.now + 5e8, seen))


@given(looks=LOOKS, rise=st.floats(0, 120), fall=st.floats(0, 120), restart=st.integers(0, 80))
def test_told_once_until_it_is_over_and_only_what_lasted(
    looks: list[tuple[float, bool | None]], rise: float, fall: float, restart: int
) -> None:
    rules = {"x": Rule(rise, fall)}
    alerts = Alerts(rules)
    now, is_told, since = 0.0, False, {True: 0.0, False: 0.0}
    last: bool | None = None
    for number, (passed, holds) in enumerate(looks):
        now += passed
        if holds is not None and holds is not last:
            since[holds] = now
        if number == restart:
            # Another manager takes over; what was on its way begins anew.
            alerts = Alerts(rules, alerts.active)
            since = {True: now, False: now}
        last = holds
        for told in alerts.step(now, now, [Seen("x", holds)]):
            assert told.over is is_told, "told a second time, or over before it began"
            assert holds is not told.over
            assert now - since[not told.over] >= (fall if told.over else rise)
            is_told = not told.over
        assert bool(alerts.active) is is_told


@given(st.lists(st.floats(9.0, 11.9), max_size=60))
def test_a_disk_around_its_threshold_is_told_once(sizes: list[float]) -> None:
    house = House()
    heard = [one for size in sizes for one in house.look(400, disk_free=int(size * GIB))]
    assert len(heard) <= 1


def test_a_disk_is_over_only_with_some_room() -> None:
    house = House()
    assert house.look(disk_free=9 * GIB) == []
    assert house.look(60, disk_free=9 * GIB) == [("disk_low", "", False)]
    assert house.look(1000, disk_free=11 * GIB) == []
    assert house.look(1000, disk_free=None) == []
    assert house.look(1000, disk_free=13 * GIB) == []
    assert house.look(300, disk_free=13 * GIB) == [("disk_low", "", True)]


def test_ports_are_full_after_so_many_minutes_and_not_under_maintenance() -> None:
    house = House()
    assert house.look(full=True) == []
    assert house.look(899, full=True) == []
    assert house.look(1, full=True) == [("ports_full", "", False)]
    assert house.look(5000, full=None) == []
    assert house.look(1, full=False) == []
    assert house.look(60, full=False) == [("ports_full", "", True)]


def test_the_line_is_long_above_its_length_and_short_at_half() -> None:
    house = House()
    assert house.look(line=5) == house.look(9999, line=5) == []
    house.look(line=6)
    assert house.look(300, line=6) == [("line_long", "", False)]
    house.look(line=3)
    assert house.look(9999, line=3) == []
    house.look(line=2)
    assert house.look(300, line=2) == [("line_long", "", True)]


def test_each_port_and_each_user_by_itself() -> None:
    house = House()
    assert house.look(held_back={8001: "why", 8002: "why"}) == [
        ("port_held_back", "8001", False),
        ("port_held_back", "8002", False),
    ]
    assert house.look(15, held_back={8002: "why"}) == [("port_held_back", "8001", True)]
    crashes = {"ann": CRASHES, "bob": CRASHES - 1}
    assert house.look(15, held_back={8002: "why"}, crashes=crashes) == [
        ("crash_loop", "ann", False)
    ]
    assert house.look(15, held_back={8002: "why"}, crashes={"ann": 1}) == []
    assert house.look(15) == [("port_held_back", "8002", True), ("crash_loop", "ann", True)]


def test_gate_and_certificate() -> None:
    house = House()
    assert house.look(gate_up=False) == []
    assert house.look(59, gate_up=False) == []
    assert house.look(1, gate_up=False) == [("gate_down", "", False)]
    assert house.look(1) == []
    assert house.look(30) == [("gate_down", "", True)]
    assert house.look(certificate_left=22 * 86_400.0) == []
    assert house.look(certificate_left=20.5 * 86_400) == [("certificate_ends", "", False)]
    told = house.alerts.active[0]
    assert told.numbers == {"days": 20}
    assert house.look(certificate_left=90 * 86_400.0) == [("certificate_ends", "", True)]
    assert house.look(backup_problem="no room") == [("backup_failed", "", False)]
    assert house.look(60, backup_problem="still no room") == []
    assert house.look(60) == [("backup_failed", "", True)]


def test_another_manager_tells_only_the_end() -> None:
    before = House()
    before.look(gate_up=False)
    before.look(60, gate_up=False)
    after = House(before.alerts.active)
    assert after.look(gate_up=False) == after.look(999, gate_up=False) == []
    after.look(1)
    assert after.look(60) == [("gate_down", "", True)]


def test_what_is_set_to_0_is_never_told() -> None:
    seen = observe(dataclasses.replace(QUIET, full=True, line=99), Thresholds(0.0, 0, 0), [])
    assert {one.event for one in seen} == {"gate_down", "backup_failed"}
