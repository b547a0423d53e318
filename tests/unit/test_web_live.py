"""Live connections: who is let in, what is told to whom, and when it ends."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engineio.base_server import BaseServer  # type: ignore[import-untyped]

from manager.states import State
from manager.web import live, views
from tests.support.told import Mirror
from tests.support.web import HOST, ORIGIN, TOKEN, Reading, Site, instance


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def events(client: Any, name: str | None = None) -> list[Any]:
    """Give what was told since the last look."""
    found = client.get_received()
    return [e["args"][0] for e in found if name is None or e["name"] == name]


def test_nobody_is_refused(site: Site) -> None:
    assert not site.visitor().connect().is_connected()
    assert site.live.connections() == []


def test_one_who_must_change_his_password_is_refused(site: Site) -> None:
    assert not site.visitor("new").connect().is_connected()


def test_a_user_is_told_his_state_and_no_overview(site: Site) -> None:
    client = site.visitor("ann").connect()
    received = client.get_received()
    assert [event["name"] for event in received] == [live.STATE_EVENT]
    assert received[0]["args"][0]["user"]["username"] == "ann"


def test_an_admin_is_told_everything(site: Site) -> None:
    client = site.visitor("admin").connect()
    names = [event["name"] for event in client.get_received()]
    assert names == [live.STATE_EVENT, live.OVERVIEW_EVENT]


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (ORIGIN, True),
        ("http://manager.test:9081", False),
        ("http://evil.test", False),
        ("https://manager.test:8880", False),
        ("null", False),
        (None, False),
    ],
)
def test_only_our_own_origin_is_let_in(site: Site, origin: str | None, allowed: bool) -> None:
    environ = {"HTTP_HOST": HOST, "wsgi.url_scheme": "http", "HTTP_ORIGIN": origin}
    # Headers of a proxy must not widen it: a visitor may send them.
    environ |= {"HTTP_X_FORWARDED_HOST": "evil.test", "HTTP_X_FORWARDED_PROTO": "http"}
    server: BaseServer = site.socketio.server.eio  # type: ignore[attr-defined]
    assert (origin in (server._cors_allowed_origins(environ) or [])) is allowed


def test_a_change_reaches_its_user_only(site: Site) -> None:
    ann, bob = site.visitor("ann").connect(), site.visitor("bob").connect()
    events(ann)
    events(bob)
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.house.changed({8001}, {2})
    site.live.push(0.0)
    (state,) = events(ann, live.STATE_DIFF_EVENT)
    assert TOKEN in state["instance"]["workspace_url"]
    told = events(bob)
    assert TOKEN not in json.dumps(told)
    assert told[0]["cards"] == {"free": 3}, "a card less is free, and nothing else is new"


def test_links_are_for_the_host_that_each_page_was_opened_under(site: Site) -> None:
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    (state,) = events(site.visitor("ann").connect(), live.STATE_EVENT)
    assert state["instance"]["workspace_url"].startswith("http://manager.test:9081/")


def test_nothing_is_told_twice(site: Site) -> None:
    client = site.visitor("ann").connect()
    events(client)
    site.live.push(0.0)
    site.house.changed({8001}, {2})
    site.live.push(1.0)
    assert events(client) == []


def test_changes_between_two_rounds_are_one_event(site: Site) -> None:
    client = site.visitor("ann").connect()
    events(client)
    site.house.lifecycle.put(8001, State.STARTING, site.house.ann)
    site.house.changed({8001}, {2})
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.house.changed({8001}, {2})
    site.live.push(0.0)
    (told,) = events(client)
    assert told["phase"] == "running"


def test_admins_get_one_difference_a_second(site: Site) -> None:
    client = site.visitor("admin").connect()
    (whole,) = events(client, live.OVERVIEW_EVENT)
    site.live.push(10.0)
    assert events(client, live.OVERVIEW_DIFF_EVENT) == []
    site.house.lifecycle.put(8002, State.RUNNING, site.house.ann)
    site.house.watch.readings[8002] = Reading(idle_seconds=3, idle_left=597)
    site.live.push(10.5)
    assert events(client, live.OVERVIEW_DIFF_EVENT) == []
    site.live.push(11.0)
    (diff,) = events(client, live.OVERVIEW_DIFF_EVENT)
    assert diff["sequence"] == whole["sequence"] + 1
    assert [port["port"] for port in diff["ports"]] == [8002]
    assert diff["ports"][0]["state"] == "running"
    assert "workspace_port" not in diff["ports"][0]
    assert "users" not in diff
    assert TOKEN not in json.dumps(diff)


def test_a_late_admin_starts_from_the_number_in_force(site: Site) -> None:
    early = site.visitor("admin").connect()
    site.live.push(10.0)
    late = site.visitor("admin").connect()
    (whole,) = events(late, live.OVERVIEW_EVENT)
    events(early)
    site.house.lifecycle.put(8002, State.RUNNING, site.house.ann)
    site.live.push(11.0)
    (diff,) = events(late, live.OVERVIEW_DIFF_EVENT)
    assert diff["sequence"] == whole["sequence"] + 1


def test_who_comes_late_goes_on_from_what_was_told_last(site: Site) -> None:
    early = site.visitor("admin").connect()
    events(early)
    site.live.push(10.0)
    site.house.lifecycle.put(8002, State.RUNNING, site.house.ann)
    late = site.visitor("admin").connect()
    (whole,) = events(late, live.OVERVIEW_EVENT)
    (diff,) = events(early, live.OVERVIEW_DIFF_EVENT)
    assert whole["sequence"] == diff["sequence"], "both know the same now"
    # Back as it was before the next round: only who knows that it was otherwise can be told.
    site.house.lifecycle.rows[8002] = instance(8002)
    site.live.push(11.0)
    for client in (early, late):
        (diff,) = events(client, live.OVERVIEW_DIFF_EVENT)
        assert diff["ports"][0]["state"] == "idle"


def test_what_a_page_puts_together_is_what_is(site: Site) -> None:
    lifecycle, ann = site.house.lifecycle, site.house.ann
    clients = [site.visitor(name).connect() for name in ("ann", "admin")]
    state, overview = Mirror(live.STATE_EVENT), Mirror(live.OVERVIEW_EVENT)

    changes: list[Callable[[], object]] = [
        lambda: site.house.accounts.add(9, "late"),
        lambda: lifecycle.line.put(ann, id=1),
        lambda: lifecycle.line.put(ann, id=1, offered_port=8003),
        lambda: lifecycle.line.rows.clear(),
        lambda: lifecycle.put(8002, State.STARTING, ann),
        lambda: lifecycle.put(8002, State.RUNNING, ann),
        lambda: site.house.watch.readings.update({8002: Reading(idle_seconds=3, idle_left=597)}),
        lambda: lifecycle.put(8002, State.RUNNING, ann, fault="one"),
        lambda: lifecycle.rows.update({8002: instance(8002)}),
    ]
    for number, change in enumerate(changes):
        change()
        site.house.changed({8002}, {ann.id})
        site.live.push(10.0 + number)
        for mirror, client in zip((state, overview), clients, strict=True):
            for one in client.get_received():
                mirror.hear(one["name"], one["args"][0])
        whole = views.user_state(site.house, ann, views.Address("manager.test"), 0)
        assert state.whole == {**whole, **_numbers(state)}
        assert overview.whole == {**views.overview(site.house, 0), **_numbers(overview)}


def _numbers(mirror: Mirror) -> dict[str, Any]:
    whole = mirror.whole or {}
    return {name: whole[name] for name in ("revision", "sequence") if name in whole}


def test_a_page_that_showed_an_answer_is_told_again_though_nothing_has_changed(site: Site) -> None:
    visitor = site.visitor("ann")
    client, other = visitor.connect(), site.visitor("bob").connect()
    events(client)
    events(other)
    visitor.post("/api/user/line")
    # Gone again before the round: against what was told there is no difference.
    site.house.lifecycle.line.rows.clear()
    site.live.push(0.0)
    (told,) = events(client, live.STATE_DIFF_EVENT)
    assert set(told) == {"revision", "sequence"}
    assert events(other) == []


def test_what_concerns_everybody_is_asked_once_for_all_pages(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    lifecycle, asked = site.house.lifecycle, Counter[str]()

    def counted(room: object, name: str) -> None:
        question = getattr(room, name)

        def ask() -> Any:
            asked[name] += 1
            return question()

        monkeypatch.setattr(room, name, ask)

    people = [site.house.accounts.add(10 + n, f"person{n}") for n in range(20)]
    clients = [site.visitor(one.username).connect() for one in people]
    lifecycle.line.put(site.house.bob)
    counted(lifecycle, "instances")
    counted(lifecycle.reservations, "terms")
    counted(lifecycle.line, "all")
    site.live.push(0.0)
    assert asked == {"instances": 1, "terms": 1, "all": 1}
    assert all(events(client, live.STATE_DIFF_EVENT) for client in clients)


def test_others_have_their_turn_while_many_pages_are_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [site.house.accounts.add(10 + n, f"person{n}") for n in range(live.BREATH)]
    clients = [site.visitor(one.username).connect() for one in people]
    for client in clients:
        events(client)
    told: list[int] = []

    def breathe(seconds: float) -> None:
        assert seconds == 0
        told.append(sum(bool(client.get_received()) for client in clients))

    monkeypatch.setattr(time, "sleep", breathe)
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.live.push(0.0)
    assert told == [live.BREATH - 1]


def test_logout_closes_the_open_page(site: Site) -> None:
    visitor = site.visitor("ann")
    client = visitor.connect()
    visitor.post("/logout")
    site.live.push(0.0)
    assert not client.is_connected()
    assert site.live.connections() == []


def test_disabling_closes_the_open_page(site: Site) -> None:
    client = site.visitor("ann").connect()
    other = site.visitor("bob").connect()
    site.visitor("admin").send("PATCH", "/api/admin/users/2", json={"is_active": False})
    site.live.push(0.0)
    assert not client.is_connected()
    assert other.is_connected()


def test_a_changed_role_closes_the_open_page(site: Site) -> None:
    site.house.accounts.add(5, "second", is_admin=True)
    client = site.visitor("second").connect()
    site.visitor("admin").send("PATCH", "/api/admin/users/5", json={"is_admin": False})
    site.live.push(0.0)
    assert not client.is_connected()


def test_a_session_that_ends_by_time_is_closed_within_the_gap(site: Site) -> None:
    client = site.visitor("ann").connect()
    site.live.push(0.0)
    site.house.accounts.sessions.clear()
    site.live.push(live.RECHECK_GAP_S)
    assert not client.is_connected()


def test_an_ended_session_gets_nothing_more_and_is_closed(site: Site) -> None:
    client = site.visitor("ann").connect()
    site.live.push(0.0)
    events(client)
    site.house.accounts.sessions.clear()
    site.house.lifecycle.put(8001, State.RUNNING, site.house.ann)
    site.house.changed({8001}, {2})
    sent: list[str] = []
    site.live.attach(
        send=lambda event, *_rest: sent.append(event), close=lambda _id: client.disconnect()
    )
    site.live.push(1.0)
    assert sent == []
    assert not client.is_connected()


def test_a_closed_page_is_forgotten(site: Site) -> None:
    client = site.visitor("ann").connect()
    client.disconnect()
    assert site.live.connections() == []


def test_the_end_closes_every_page(site: Site) -> None:
    clients = [site.visitor("ann").connect(), site.visitor("admin").connect()]
    site.live.end()
    assert not any(client.is_connected() for client in clients)
    site.live.run()  # returns: the end was told before


def test_revisions_only_grow() -> None:
    revision = views.Revision()
    numbers = [revision.next() for _ in range(5)]
    assert numbers == sorted(set(numbers))


def test_an_own_change_of_the_account_is_told(site: Site) -> None:
    client = site.visitor("ann").connect()
    events(client)
    changed = dataclasses.replace(site.house.ann, assigned_port=8002)
    site.house.accounts.all[2] = changed
    site.live.accounts_changed()
    site.live.push(0.0)
    (state,) = events(client, live.STATE_DIFF_EVENT)
    assert state["cards"] == {"free": 1, "total": 1}
