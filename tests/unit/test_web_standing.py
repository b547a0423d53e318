"""How each port stands in one word, and the page for a screen on a wall that shows it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manager.cards.baseline import busy
from manager.cards.reading import MIB, CardProcess, Reading
from manager.cards.sampler import CardState
from manager.permits import Reservation
from manager.records import Quarantined
from manager.settings import ROOT
from manager.states import State
from manager.web import i18n, standing
from tests.support.web import NOW, Site
from tests.support.web import Reading as Seen

ONE = Reading(0, "910B3", "ok", 8676 * MIB, 65536 * MIB, 12.4, 50.0, 100.4, ())
THEIRS = CardProcess(4712, 5000 * MIB, "/usr/bin/python3", "bob")
PORT = 8001


@pytest.fixture
def site(tmp_path: Path) -> Site:
    built = Site(tmp_path)
    built.house.sampler.states = {n: CardState(ONE, 1.0, ONE, 1.0) for n in range(4)}
    return built


def port_of(site: Site, number: int = PORT) -> dict[str, Any]:
    ports = site.visitor("admin").get("/api/admin/overview").get_json()["ports"]
    return next(port for port in ports if port["port"] == number)


def told(site: Site) -> tuple[str, str | None, str]:
    port = port_of(site)
    note = port["note"]
    return port["standing"], note and note["kind"], note["text"] if note else ""


def reserve(site: Site, *users: int) -> None:
    reserved = Reservation(PORT, "admin", NOW, None, "", frozenset(users))
    site.house.lifecycle.reservations.rows[PORT] = reserved


def test_a_card_that_nobody_has_is_free(site: Site) -> None:
    assert told(site) == ("free", None, "")


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING])
def test_a_card_that_somebody_has_stands_as_its_instance(site: Site, state: State) -> None:
    site.house.lifecycle.put(PORT, state, site.house.ann)
    assert told(site) == (str(state), None, "")


def test_a_drained_card_says_so_while_it_is_held_and_after(site: Site) -> None:
    reserve(site)
    assert told(site) == ("out_of_use", None, "")
    site.house.lifecycle.put(PORT, State.RUNNING, site.house.ann)
    assert told(site) == ("draining", None, "")


def test_a_reserved_card_says_for_whom(site: Site) -> None:
    reserve(site, 2, 3)
    assert told(site) == ("reserved", "reserved", "ann, bob")
    site.house.lifecycle.put(PORT, State.RUNNING, site.house.ann)
    assert told(site) == ("running", "after", "bob")


def test_what_keeps_a_card_from_people_comes_before_who_may_have_it(site: Site) -> None:
    reserve(site, 2)
    strangers = replace(ONE, processes=(THEIRS,))
    site.house.sampler.states[0] = CardState(
        strangers, 1.0, strangers, 1.0, 0, (THEIRS,), busy(strangers, (THEIRS,), 0)
    )
    assert told(site) == ("outside", "outside", "4712 python3 (bob)")
    alarm = replace(ONE, health="alarm")
    site.house.sampler.states[0] = CardState(
        alarm, 1.0, alarm, 1.0, None, (), busy(alarm, (), None)
    )
    assert told(site) == ("sick", "sick", "alarm")
    entry = Quarantined(PORT, 1, "launch", NOW, "memory")
    site.house.lifecycle.quarantine.held[PORT] = (entry, False)
    assert told(site) == ("held_back", "held_back", "")


def test_an_unknown_card_is_said_to_be_unknown(site: Site) -> None:
    site.house.sampler.states[0] = CardState(Reading(0, unknown="npu-smi: no such file"), 1.0)
    assert told(site) == ("unknown", "unknown", "npu-smi: no such file")


def test_a_processor_is_never_unknown(site: Site) -> None:
    site.house.cards = [replace(card, kind="cpu") for card in site.house.cards]
    site.house.sampler.states = {}
    assert told(site) == ("free", None, "")
    assert "CPU: nothing to measure" in site.visitor("admin").get("/wall").text


def test_a_silent_instance_and_work_that_stands_still_are_told(site: Site) -> None:
    site.house.lifecycle.put(PORT, State.RUNNING, site.house.ann)
    site.house.watch.readings[PORT] = Seen(running=1, hung_since=NOW)
    assert told(site)[:2] == ("running", "hung")


def test_next_is_the_first_who_may_use_the_card(site: Site) -> None:
    house = site.house
    house.lifecycle.put(PORT, State.RUNNING, house.ann)
    dora = house.accounts.add(7, "dora", assigned_port=8002)
    house.lifecycle.line.put(dora, id=1)
    assert port_of(site)["next_up"] is None
    house.lifecycle.line.put(house.bob, id=2)
    assert port_of(site)["next_up"] == "bob"
    assert port_of(site, 8002)["next_up"] == "dora"
    # Not for bob: he gets another one.
    house.lifecycle.line.put(house.bob, id=2, offered_port=8003)
    assert port_of(site)["next_up"] is None
    assert port_of(site, 8003)["standing"] == "kept"
    reserve(site, 2)
    house.lifecycle.line.put(house.bob, id=2)
    assert port_of(site)["next_up"] is None


def test_everybody_in_line_has_an_estimate(site: Site) -> None:
    house = site.house
    house.lifecycle.line.sessions = [600.0] * 5
    for number in (8001, 8002, 8003, 8004):
        house.lifecycle.put(number, State.RUNNING, house.accounts.add(number, f"u{number}"))
    house.lifecycle.line.put(house.ann, id=1)
    overview = site.visitor("admin").get("/api/admin/overview").get_json()
    # Their sessions are older than any before: nothing can be said.
    assert overview["line"][0]["estimate"] is None
    house.lifecycle.reservations.rows.clear()
    house.lifecycle.rows[8001] = replace(house.lifecycle.rows[8001], started_at=None)
    line = site.visitor("admin").get("/api/admin/overview").get_json()["line"]
    assert line[0]["estimate"] == {"low": 9, "high": 10, "form": "minutes"}


def test_who_holds_a_card_stands_on_its_tile(site: Site) -> None:
    site.house.lifecycle.put(8003, State.RUNNING, site.house.ann)
    site.house.watch.readings[8003] = Seen(running=0, idle_seconds=60, idle_left=540)
    page = site.visitor("admin").get("/wall").text
    tile = page.split('data-tile="8003"')[1].split("</li>")[0]
    assert re.search(r'data-field="who">ann<', tile)
    assert "Idle 1:00 of 10:00" in tile
    assert 'href="/admin#port-8003"' in tile
    assert 'data-standing="running"' in tile
    row = site.visitor("admin").get("/admin").text
    assert 'id="port-8003"' in row


def test_names_are_for_admins(site: Site) -> None:
    assert site.visitor("ann").get("/wall").status_code == 403


def test_every_standing_and_note_has_its_words() -> None:
    words = i18n.catalogue("en")
    assert {f"wall.standing.{one}" for one in standing.STANDINGS} <= set(words)
    assert {f"wall.note.{one}" for one in standing.NOTES} <= set(words)


@pytest.mark.parametrize("tiles", range(1, 65))
def test_any_number_of_tiles_has_columns_that_the_page_knows(tiles: int) -> None:
    columns = standing.columns(tiles)
    css = (ROOT / "static" / "css" / "wall.css").read_text(encoding="utf-8")
    assert f'[data-columns="{columns}"]' in css
    assert -(-tiles // columns) <= columns
