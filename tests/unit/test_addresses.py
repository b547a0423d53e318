"""Where instances answer: as text, in the database, and when nobody can tell."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from manager import settings
from manager.errors import NoFreeCard
from manager.gate.opening import Opening
from manager.launcher.protocol import Liveness, ProcessReport
from manager.records import Address, Quarantined, User
from manager.states import State
from manager.store import Store
from manager.store.database import MIGRATIONS
from tests.support.house import House
from tests.support.stand_ins import IDLE

TOKEN, SECRET = "t" * 32, "s" * 32
THERE = Address("10.0.0.7", 8001)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8001", Address("127.0.0.1", 8001)),
        ("node-7.lan:65535", Address("node-7.lan", 65535)),
        ("[::1]:8001", Address("::1", 8001)),
        ("https://node:8001", Address("node", 8001, "https")),
    ],
)
def test_an_address_is_written_and_read_as_the_same(text: str, address: Address) -> None:
    assert (str(address), Address.parse(text)) == (text, address)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", "8001", "node", "node:", "node:0", "node:65536", ":8001", "::1:8001"),
        *("node:8001 {", "node:8001\n", "no de:8001", "{env.HOME}:8001", "-x:1", "node:٣"),
        "node:8001/path",
    ],
)
def test_what_is_no_address_is_none(text: str | None) -> None:
    assert Address.parse(text) is None


def database_of_the_version_before(path: Path) -> None:
    """Make a database of schema 5 with an instance at work, one that starts and one held back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    for script in sorted(MIGRATIONS.glob("*.sql"))[:5]:
        connection.executescript(script.read_text(encoding="utf-8"))
    connection.execute("PRAGMA user_version = 5")
    connection.executemany(
        "INSERT INTO users (id, username, password_hash) VALUES (?, ?, 'h')",
        [(1, "ann"), (2, "bob")],
    )
    connection.executemany(
        "INSERT INTO port_status (port, status, current_user_id, current_username, launch_id, "
        "token, secret) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (8001, "running", 1, "ann", "one", TOKEN, SECRET),
            (8002, "starting", 2, "bob", "two", None, SECRET),
            (8003, "idle", None, None, None, None, None),
        ],
    )
    connection.execute(
        "INSERT INTO quarantine (port, card, launch_id, since, reason) "
        "VALUES (8004, 4, 'three', 5.0, 'why')"
    )
    connection.commit()
    connection.close()


def test_what_an_earlier_version_holds_answers_on_loopback(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    database_of_the_version_before(path)
    store = Store(path, 1)
    rows = store.read(lambda t: t.ports.all())
    assert [(row.port, row.address) for row in rows] == [
        (8001, Address("127.0.0.1", 8001)),
        (8002, Address("127.0.0.1", 8002)),
        (8003, None),
    ]
    here = Address("127.0.0.1", 8004)
    held = store.read(lambda t: t.quarantine.all())
    assert held == [Quarantined(8004, 4, "three", 5.0, "why", here)]
    store.close()


def test_an_instance_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    database_of_the_version_before(settings.load({}, root=tmp_path).database_path)
    house = House(tmp_path)
    house.launcher.reports["one"] = ProcessReport(Liveness.ALIVE, pid=7)
    house.comfyui.answers[8001] = IDLE
    row = house.row(8001)
    assert house.step(8001) == "ready"
    wanted = Opening(TOKEN, SECRET, upstream="127.0.0.1:8001", owner=row.user_id or 0)
    assert house.lifecycle.openings() == {8001: wanted}
    assert house.lifecycle.stop_if_idle(row) is IDLE
    house.launcher.end("one", 0)
    house.step(8001)
    assert (house.row(8001).state, house.row(8001).address) == (State.IDLE, None)
    house.close()


def test_the_gate_leads_to_where_the_launcher_says(house: House, ann: User) -> None:
    house.launcher.address_of = lambda spec: THERE
    row = house.run(ann)
    assert row.address == THERE
    assert house.gate.open[8001].upstream == "10.0.0.7:8001"
    assert house.comfyui.heard[-1] == THERE


def test_no_address_is_not_ready(house: House, ann: User) -> None:
    house.launcher.address_of = lambda spec: None
    house.lifecycle.start(ann)
    house.comfyui.answers[8001] = IDLE
    house.step(8001)
    assert house.step(8001) == "loading"
    house.launcher.address_of = lambda spec: THERE
    assert house.step(8001) == "ready"


@pytest.mark.parametrize(("liveness", "itself"), [(Liveness.ALIVE, None), (Liveness.UNKNOWN, True)])
def test_what_nobody_can_tell_is_not_ready_and_sees_no_secret(
    house: House, ann: User, liveness: Liveness, itself: bool | None
) -> None:
    launch_id = house.lifecycle.start(ann).launch_id or ""
    house.comfyui.answers[8001] = IDLE
    house.step(8001)
    house.launcher.reports[launch_id] = ProcessReport(liveness)
    house.launcher.itself[launch_id] = itself
    assert house.step(8001) == "loading"
    assert (house.comfyui.heard, house.gate.open) == ([], {})


def test_a_gate_that_leads_nowhere_stays_closed(house: House, ann: User) -> None:
    row = house.run(ann)
    house.store.write(
        lambda t: t.ports.note(8001, row.launch_id or "", State.RUNNING, {"address": None})
    )
    assert house.lifecycle.openings() == {}
    house.lifecycle.keep_doors()
    assert house.gate.open == {}


def test_an_instance_that_no_gate_can_serve_is_ended_with_the_reason(
    house: House, ann: User
) -> None:
    house.launcher.address_of = lambda spec: Address("node", 8001, "https")
    house.lifecycle.start(ann)
    house.comfyui.answers[8001] = IDLE
    house.step(8001)
    assert house.step(8001) == "ending"
    assert "no gate can serve https://node:8001" in (house.row(8001).fault or "")
    assert house.comfyui.heard == []


def test_a_queued_launch_is_shown_as_such_and_not_asked(house: House, ann: User) -> None:
    row = house.lifecycle.start(ann)
    house.comfyui.answers[8001] = IDLE
    house.step(8001)
    house.launcher.reports[row.launch_id or ""] = ProcessReport(Liveness.QUEUED)
    assert house.step(8001) == "queued"
    assert house.comfyui.heard == []
    house.launcher.reports[row.launch_id or ""] = ProcessReport(Liveness.ALIVE)
    assert house.step(8001) == "ready"


def test_a_launch_of_which_nobody_can_tell_is_neither_begun_again_nor_given_up(
    house: House, ann: User
) -> None:
    row = house.lifecycle.start(ann)
    launch_id = row.launch_id or ""
    house.comfyui.answers[8001] = IDLE
    house.launcher.reports[launch_id] = ProcessReport(Liveness.UNKNOWN)
    assert house.step(8001) == "loading"
    assert house.launcher.specs == {}
    # Never begun, as it turns out: then it is.
    del house.launcher.reports[launch_id]
    assert house.step(8001) == "launched"
    house.launcher.reports[launch_id] = ProcessReport(Liveness.UNKNOWN)
    assert house.step(8001) == "loading"
    assert house.row(8001).state is State.STARTING


def test_what_nobody_can_tell_frees_nothing(house: House, ann: User) -> None:
    row = house.run(ann)
    house.lifecycle.stop(8001, by=ann, reason="user")
    house.launcher.reports[row.launch_id or ""] = ProcessReport(Liveness.UNKNOWN)
    for _ in range(3):
        house.pass_time(60)
        assert house.step(8001) == "ending"
    house.launcher.end(row.launch_id or "", 0)
    house.launcher.stranger = None
    assert house.step(8001) == "ending"
    house.pass_time(31)
    house.step(8001)
    ((entry, _),) = house.lifecycle.quarantine.all()
    assert entry.reason == "nobody can tell whether 127.0.0.1:8001 is free again"
    assert entry.address == Address("127.0.0.1", 8001)
    with pytest.raises(NoFreeCard):
        house.lifecycle.start(ann)


def test_leftovers_stay_while_nobody_can_tell(house: House) -> None:
    house.launcher.reports["lost"] = ProcessReport(Liveness.ALIVE)
    house.lifecycle.look_around()
    house.launcher.silent = True
    house.lifecycle.look_around()
    assert [one.launch_id for one in house.lifecycle.leftovers.all()] == ["lost"]
    house.launcher.silent = False
    del house.launcher.reports["lost"]
    house.lifecycle.look_around()
    assert house.lifecycle.leftovers.all() == []
