"""Who is walked through when, what is kept, what pages say of it; nothing is walked here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from manager.cards.reading import Unreadable
from manager.counts import DiskUse
from manager.disk import AFTER_END_S, UNSEEN_S, DiskUses
from manager.records import User
from tests.support.house import House
from tests.support.web import NOW, Site

GIB = 1 << 30
GAP = 900.0
TOLD = {"folders": {"output": 3 * GIB, "input": GIB}, "complete": True}


class Walks:
    """Takes the place of the walker."""

    def __init__(self) -> None:
        self.walked: list[str] = []
        self.told: Mapping[str, Any] | Exception = TOLD

    def __call__(self, workspace: Path) -> Mapping[str, Any]:
        self.walked.append(workspace.name.split("-")[1])
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


@pytest.fixture
def walks() -> Walks:
    return Walks()


@pytest.fixture
def disk(house: House, walks: Walks) -> DiskUses:
    return DiskUses(house.settings, house.store, walks, house.clock)


def with_folder(house: House, name: str) -> User:
    user = house.user(name)
    house.store.write(lambda t: t.users.set_workspace(user.id, f"{user.id}-{name}-ab"))
    return user


def session(house: House, user: User, seconds: float = 60) -> None:
    launch_id = f"{user.username}-{house.clock.now}"
    house.store.write(lambda t: t.usage.begin(launch_id, user, 8001, 1, house.clock.now))
    house.pass_time(seconds)
    row = house.row(8001)
    house.store.write(lambda t: t.usage.end(launch_id, house.clock.now, "user", row))


def rounds(disk: DiskUses) -> int:
    found = 0
    while disk.look():
        found += 1
    return found


def test_each_folder_is_walked_once_and_again_only_after_it_was_used(
    house: House, disk: DiskUses, walks: Walks
) -> None:
    ann = with_folder(house, "ann")
    with_folder(house, "bob")
    house.user("eve")
    assert rounds(disk) == 2
    assert sorted(walks.walked) == ["ann", "bob"]
    house.pass_time(30 * 86_400)
    assert rounds(disk) == 0
    session(house, ann)
    assert rounds(disk) == 1
    # What goes just after the end is not missed, and then it rests.
    house.pass_time(AFTER_END_S + GAP)
    assert rounds(disk) == 1
    house.pass_time(30 * 86_400)
    assert rounds(disk) == 0
    assert walks.walked.count("ann") == 3


def test_who_works_is_walked_more_often_while_he_looks(
    house: House, disk: DiskUses, walks: Walks
) -> None:
    ann = with_folder(house, "ann")
    house.run(ann)
    assert rounds(disk) == 1
    house.pass_time(GAP + 1)
    assert rounds(disk) == 0
    disk.ask(ann.id)
    assert rounds(disk) == 1
    disk.ask(ann.id)
    assert rounds(disk) == 0, "not within the interval"
    house.pass_time(UNSEEN_S + 1)
    assert rounds(disk) == 1


def test_a_long_walk_comes_more_rarely(house: House, disk: DiskUses, walks: Walks) -> None:
    ann = with_folder(house, "ann")
    house.run(ann)
    slow = DiskUse(ann.id, house.clock.now, 200.0, {}, complete=False)
    house.store.write(lambda t: t.disk_use.put(slow))
    again = DiskUses(house.settings, house.store, walks, house.clock)
    for seconds, walked in ((GAP + 1, 0), (3000, 0), (200, 1)):
        house.pass_time(seconds)
        again.ask(ann.id)
        assert rounds(again) == walked


def test_a_deleted_picture_is_a_reason_to_look_again(
    house: House, disk: DiskUses, walks: Walks
) -> None:
    ann = with_folder(house, "ann")
    rounds(disk)
    house.pass_time(GAP + 1)
    disk.touch(ann.id)
    assert rounds(disk) == 1


def test_a_clock_that_was_set_back_does_not_end_it(house: House, disk: DiskUses) -> None:
    ann = with_folder(house, "ann")
    house.run(ann)
    rounds(disk)
    house.clock.now -= 10 * 86_400
    disk.ask(ann.id)
    assert rounds(disk) == 1


def test_it_is_known_at_once_after_a_restart_and_goes_with_the_account(
    house: House, disk: DiskUses, walks: Walks
) -> None:
    ann = with_folder(house, "ann")
    rounds(disk)
    again = DiskUses(house.settings, house.store, walks, house.clock)
    known = again.of_user(ann.id)
    assert known is not None
    assert (known.total, known.complete, known.taken_at) == (4 * GIB, True, house.clock.now)
    house.store.write(lambda t: t.users.delete(ann.id))
    assert house.store.read(lambda t: t.disk_use.all()) == []
    # And a walk that ends after the account was deleted writes nothing.
    house.store.write(lambda t: t.disk_use.put(known))
    assert house.store.read(lambda t: t.disk_use.all()) == []


@pytest.mark.parametrize(
    "told",
    [
        Unreadable("it took too long"),
        PermissionError(13, "Permission denied"),
        {},
        {"folders": [], "complete": True},
    ],
)
def test_a_walk_that_fails_is_said_once_and_not_begun_again_at_once(
    house: House,
    disk: DiskUses,
    walks: Walks,
    told: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "manager.disk")
    ann = with_folder(house, "ann")
    walks.told = told
    assert rounds(disk) == 1
    assert disk.of_user(ann.id) is None
    assert not disk.is_under_way(ann.id)
    assert rounds(disk) == 0
    house.pass_time(GAP + 1)
    assert rounds(disk) == 1
    walks.told = TOLD
    house.pass_time(GAP + 1)
    assert rounds(disk) == 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_pages_show_what_is_known_and_ask_for_more(tmp_path: Path) -> None:
    site = Site(tmp_path)
    house = site.house
    ann = house.accounts.add(2, "ann", workspace="2-ann-ab")
    visitor = site.visitor("ann")
    assert visitor.get("/api/user/disk").get_json() == {
        "there": True,
        "known": None,
        "under_way": False,
        "warning": None,
    }
    assert house.disk.asked == [ann.id]
    assert "Not counted yet" in visitor.get("/").text
    house.disk.known[ann.id] = DiskUse(ann.id, NOW, 1.0, {"output": 3 * GIB, "input": GIB}, True)
    page = visitor.get("/").text
    assert "4.0 GiB in all" in page
    assert "3.0 GiB" in page
    house.disk.known[ann.id] = DiskUse(ann.id, NOW, 1.0, {"output": GIB}, False)
    assert "at least 1.0 GiB" in visitor.get("/").text
    users = site.visitor("admin").get("/api/admin/overview").get_json()["users"]
    assert {one["username"]: one["disk_total"] for one in users} == {
        "admin": None,
        "ann": GIB,
        "bob": None,
        "new": None,
    }
    # Nobody without a folder is walked through, nor anybody where it is off.
    bob = site.visitor("bob").get("/api/user/disk").get_json()
    assert (bob["there"], bob["known"]) == (False, None)
    house.disk.on = False
    assert not visitor.get("/api/user/disk").get_json()["there"]
    assert house.disk.asked.count(house.bob.id) == 0
