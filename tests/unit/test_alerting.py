"""What the rooms say becomes what is told; on a real store and lifecycle, nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from manager.alerting import Alerting
from manager.alerts import CRASH_WINDOW_S, CRASHES, EVENTS
from manager.data_dir import close_record, ended_uncleanly, write_record
from manager.records import User
from manager.web.i18n import translate
from manager.webhooks import record
from manager.webhooks.delivery import Delivery
from manager.webhooks.hooks import Hook
from manager.webhooks.shapes import Message
from tests.support.house import House

GIB = 1 << 30


@dataclass
class Disk:
    disk_free: int = 100 * GIB

    def latest(self) -> Disk:
        return self


class Teller:
    """A manager's alerting, with a webhook that keeps what it is told."""

    def __init__(self, house: House) -> None:
        self.house, self.disk, self.backup_problem = house, Disk(), ""
        hook = Hook("ops", "generic", "http://x", "", "en", frozenset(EVENTS))
        self.delivery = Delivery(hook)
        gate: Any = house.gate
        load: Any = self.disk
        house.settings.data_dir.mkdir(exist_ok=True)
        self.alerting = Alerting(
            house.settings,
            house.store,
            house.lifecycle,
            gate,
            load,
            [self.delivery],
            translate,
            unclean=False,
            backup_problem=lambda: self.backup_problem,
            clock=house.clock,
            monotonic=house.monotonic,
        )

    def look(self, seconds: float = 0.0) -> list[tuple[str, str, bool]]:
        self.house.pass_time(seconds)
        self.alerting.look()
        return [(one.event, one.subject, one.over) for one in self.messages()]

    def messages(self) -> list[Message]:
        found = list(self.delivery._waiting)
        self.delivery._waiting.clear()
        return found


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, PORTS="8001:9001:9081:1,8002:9002:9082:2")
    yield built
    built.close()


@pytest.fixture
def teller(house: House) -> Teller:
    return Teller(house)


def fails(house: House, user: User) -> None:
    house.lifecycle.start(user)
    house.step(8001)
    row = house.row(8001)
    house.launcher.end(row.launch_id or "", 1)
    while house.row(8001).user_id is not None:
        house.step(8001)


def test_a_user_whose_comfyui_keeps_failing(house: House, teller: Teller) -> None:
    ann = house.user("ann", 8001)
    for _ in range(CRASHES - 1):
        fails(house, ann)
    assert teller.look() == []
    fails(house, ann)
    assert teller.look() == [("crash_loop", "ann", False)]
    assert teller.look(60) == []
    # Somebody who stops his own is no failure.
    bob = house.user("bob", 8002)
    for _ in range(CRASHES):
        house.run(bob)
        house.lifecycle.stop(8002, by=bob, reason="user")
        house.launcher.end(house.row(8002).launch_id or "", 0)
        house.step(8002)
        house.pass_a_second()
    assert teller.look() == []
    assert teller.look(CRASH_WINDOW_S) == [("crash_loop", "ann", True)]


def test_full_and_long_unless_it_is_meant(house: House, teller: Teller) -> None:
    users = [house.user(f"user{number}") for number in range(9)]
    assert teller.look() == []
    house.run(users[0])
    house.lifecycle.quarantine._held  # noqa: B018 - nothing is held back
    house.run(users[1])
    assert teller.look() == teller.look(899) == []
    assert teller.look(1) == [("ports_full", "", False)]
    for user in users[2:]:
        house.lifecycle.line.join(user)
    teller.look()
    told = teller.look(300)
    assert told == [("line_long", "", False)]
    house.lifecycle.maintenance.begin("works", None, by=users[0])
    assert teller.look(9999) == teller.look(9999) == []
    house.lifecycle.maintenance.end(by=users[0])
    for user in users[2:]:
        house.lifecycle.line.leave(user.id, by=user)
    teller.look()
    assert teller.look(300) == [("line_long", "", True)]


def test_a_free_port_that_is_kept_for_somebody_is_not_to_be_had(
    house: House, teller: Teller
) -> None:
    ann, bob, eve = (house.user(name) for name in ("ann", "bob", "eve"))
    house.run(ann)
    house.lifecycle.reservations.reserve(8002, [eve.id], None, "", by=ann)
    house.lifecycle.line.join(bob)
    teller.look()
    assert teller.look(900) == [("ports_full", "", False)]
    house.lifecycle.reservations.put_back(8002, by=ann)
    # Free, but bob has waited for it.
    assert teller.look(60) == teller.look(60) == []
    house.lifecycle.line.leave(bob.id, by=bob)
    teller.look()
    assert teller.look(60) == [("ports_full", "", True)]


def test_gate_and_disk_and_another_manager(house: House, teller: Teller) -> None:
    house.gate.running = False
    teller.disk.disk_free = 9 * GIB
    assert teller.look() == []
    assert teller.look(60) == [("disk_low", "", False), ("gate_down", "", False)]
    again = Teller(house)
    again.disk.disk_free = 9 * GIB
    assert again.look(60) == again.look(999) == []
    house.gate.running = True
    again.look()
    assert again.look(60) == [("gate_down", "", True)]


def test_a_backup_that_failed_and_one_that_did_not(house: House, teller: Teller) -> None:
    assert teller.look() == []
    teller.backup_problem = "the command ended with 1: no room"
    assert teller.look() == [("backup_failed", "", False)]
    assert teller.look(60) == []
    teller.backup_problem = ""
    assert teller.look() == [("backup_failed", "", True)]


def test_a_database_that_cannot_be_read_ends_nothing(house: House, teller: Teller) -> None:
    house.gate.running = False
    teller.look()
    assert teller.look(60) == [("gate_down", "", False)]
    house.store.close()
    house.gate.running = True
    assert teller.look(999) == teller.look(999) == []


def test_the_words_say_which_machine_what_and_where(house: House, teller: Teller) -> None:
    teller.disk.disk_free = 3 * GIB
    teller.look()
    house.pass_time(60)
    teller.alerting.look()
    (told,) = teller.messages()
    assert told.what == f"[{told.host}] 3.0 GiB are free where users' files are."
    assert "./start_manager.sh retention" in told.do
    assert told.link.endswith(":8880/admin")
    active, _failing = record.load(record.place(house.settings))
    assert [one.event for one in active] == ["disk_low"]


def test_an_end_is_clean_unless_nobody_said_so(tmp_path: Path) -> None:
    assert not ended_uncleanly(tmp_path)
    (tmp_path / "manager.json").write_text('{"pid": 1, "address": "of an older version"}')
    assert not ended_uncleanly(tmp_path)
    write_record(tmp_path, "http://x")
    assert ended_uncleanly(tmp_path)
    close_record(tmp_path)
    assert not ended_uncleanly(tmp_path)
