"""The waiting line in the whole program: turns, claims, who is told what, and killed managers."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import chaos
from tests.support.client import PATIENCE_S, Client, Json, first_admin, new_user
from tests.support.listener import Listener
from tests.support.server import ManagerProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

NAMES = ("anna_lindqvist", "bruno_keller", "celia_moreau")
SEED = random.SystemRandom().randrange(1, 1 << 31)
KILLS = 8


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


class House:
    """One card; the first of three users has it."""

    def __init__(self, folder: Path, stack: ExitStack, **settings: str) -> None:
        self.manager = ManagerProcess(folder, rows=1, settings={**chaos.SETTINGS, **settings})
        stack.enter_context(self.manager)
        self.admin = stack.enter_context(first_admin(self.manager))
        self.ann, self.bob, self.cid = (
            stack.enter_context(new_user(self.admin, name)) for name in NAMES
        )
        self.ann.start()

    def line(self) -> list[str]:
        shown = self.admin.get("/api/admin/overview")["line"]
        return [one["username"] for one in shown]


def join(*clients: Client) -> None:
    for client in clients:
        assert client.post("/api/user/line")["phase"] == "waiting"


def leave(client: Client) -> None:
    assert client.ask("DELETE", "/api/user/line").ok


def until(client: Client, phase: str) -> Json:
    """Wait for a face of the user's page."""

    def there() -> Json | None:
        state = client.state()
        return state if state["phase"] == phase else None

    return wait_until(there, PATIENCE_S, phase) or {}


def refused(client: Client) -> str:
    answer = client.ask("POST", "/api/user/start")
    assert answer.status_code == 409, answer.text
    return str(answer.json()["error"]["key"])


def place(client: Client) -> tuple[int, int]:
    line = client.state()["line"]
    return line["place"], line["total"]


def test_from_a_full_house_to_a_claim(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack)
    ann, bob, cid = house.ann, house.bob, house.cid
    assert refused(bob) == "no_free_card.all"
    join(bob, cid)
    assert (place(bob), place(cid)) == ((1, 2), (2, 2))
    ann.stop()
    offer = until(bob, "turn")["line"]["offer"]
    assert offer["port"] == house.manager.ports[0]
    assert 0 < offer["seconds"] <= 120
    for other in (ann, cid):
        assert refused(other) == "no_free_card.line"
    bob.start()
    assert house.line() == [NAMES[2]]
    assert place(cid) == (1, 1)
    leave(cid)
    assert (house.line(), cid.state()["line"]) == ([], None)


def test_who_does_not_come_is_told_and_the_next_one_is_asked(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack, CLAIM_TIMEOUT="5")
    join(house.bob, house.cid)
    house.ann.stop()
    until(house.bob, "turn")
    until(house.cid, "turn")
    missed = house.bob.state()["line"]
    assert missed["missed_at"] is not None
    assert refused(house.bob) == "no_free_card.line"
    join(house.bob)
    assert house.line() == [NAMES[2], NAMES[1]]
    house.cid.start()
    actions = [
        row["action"] for row in chaos.query(house.manager, "SELECT action FROM audit ORDER BY id")
    ]
    told = [action for action in actions if action.startswith("line_")]
    assert told == [
        "line_join", "line_join", "line_offer", "line_missed", "line_offer", "line_join"
    ]  # fmt: skip


def test_it_starts_by_itself_if_so_set(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack, LINE_START="automatic")
    join(house.bob, house.cid)
    house.ann.stop()
    until(house.bob, "running")
    assert until(house.cid, "waiting")["line"]["place"] == 1
    house.bob.stop()
    until(house.cid, "running")
    assert house.line() == []


def test_each_is_told_his_own_place_and_no_name(tmp_path: Path, stack: ExitStack) -> None:
    house = House(tmp_path, stack)
    people = {"ann": house.ann, "bob": house.bob, "cid": house.cid, "admin": house.admin}
    pages = {name: stack.enter_context(Listener(client)) for name, client in people.items()}
    wait_until(lambda: all(page.states() for page in pages.values()), what="all listen")
    join(house.bob, house.cid)

    def last_line(name: str) -> Json:
        return dict(pages[name].states()[-1]["line"] or {})

    wait_until(lambda: last_line("cid").get("place") == 2, what="cid hears his place")
    house.ann.stop()
    wait_until(lambda: last_line("bob").get("offer"), what="bob hears that it is his turn")
    house.bob.start()
    wait_until(lambda: last_line("cid").get("place") == 1, what="cid moves up")
    assert all(state["line"] is None for state in pages["ann"].states())
    assert all((state["line"] or {}).get("offer") is None for state in pages["cid"].states())
    for name, own in zip(("ann", "bob", "cid"), NAMES, strict=True):
        said = "\n".join(pages[name].heard)
        assert own in said
        assert not [other for other in NAMES if other != own and other in said]
    lines = [diff["line"] for diff in pages["admin"].events("overview_diff") if "line" in diff]
    assert [NAMES[1], NAMES[2]] in [[one["username"] for one in line] for line in lines]


def _asked_to_end(manager: ManagerProcess) -> None:
    assert manager.run("stop", "--keep-instances").returncode == 0


@pytest.mark.parametrize("end", [_asked_to_end, ManagerProcess.kill], ids=["restart", "kill"])
def test_the_next_manager_keeps_places_and_what_is_offered(
    tmp_path: Path, stack: ExitStack, end: Callable[[ManagerProcess], None]
) -> None:
    house = House(tmp_path, stack)
    ann, bob, cid = house.ann, house.bob, house.cid
    join(bob, cid)
    end(house.manager)
    house.manager.start()
    assert (place(bob), place(cid)) == ((1, 2), (2, 2))
    until(ann, "running")
    ann.stop()
    before = until(bob, "turn")["line"]["offer"]
    end(house.manager)
    house.manager.start()
    after = bob.state()["line"]["offer"]
    assert after["port"] == before["port"]
    assert 0 < after["seconds"] <= before["seconds"]
    for other in (ann, cid):
        assert refused(other) == "no_free_card.line"
    bob.start()
    assert place(cid) == (1, 1)


class Queuer(chaos.User):
    """One of those users, who joins the line when all is taken."""

    def _take(self, state: Json) -> None:
        if state["phase"] == "full" and self._mine is None:
            self._ask("POST", "/api/user/line")
        elif state["phase"] != "waiting":
            super()._take(state)


@pytest.mark.timeout(60 + 20 * KILLS)
@pytest.mark.parametrize("how", ["claim", "automatic"])
def test_no_kill_loses_a_place_or_gives_a_port_twice(
    tmp_path: Path, stack: ExitStack, how: str
) -> None:
    house = House(tmp_path, stack, LINE_START=how, CLAIM_TIMEOUT="5")
    house.ann.stop()
    chance, rest = random.Random(SEED), threading.Event()
    people = (house.ann, house.bob, house.cid)
    users = [Queuer(client, SEED + n, rest) for n, client in enumerate(people)]
    stack.callback(rest.set)
    for user in users:
        user.start()
    for _ in range(KILLS):
        rest.wait(chance.uniform(0.5, 3.0))
        house.manager.kill()
        house.manager.spawn()
    wait_until(house.manager.health, PATIENCE_S, "the last manager answers")
    had = _sessions(house)
    wait_until(
        lambda: all(_sessions(house)[name] > had[name] for name in NAMES),
        PATIENCE_S,
        f"everybody gets his turn again, seed {SEED}",
    )
    rest.set()
    for user in users:
        user.join(60)
    chaos.settle(house.manager)
    wrong = chaos.account(house.manager, set().union(*(user.tally.links for user in users)))
    wrong += [line for user in users for line in user.tally.lost]
    assert not wrong, f"seed {SEED}\n" + "\n".join(wrong) + house.manager.told()


def _sessions(house: House) -> dict[str, int]:
    rows = chaos.query(
        house.manager,
        "SELECT username, count(*) AS number FROM usage GROUP BY username",
    )
    return dict.fromkeys(NAMES, 0) | {row["username"]: row["number"] for row in rows}
