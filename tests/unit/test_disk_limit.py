"""What a user's folders may take: new starts wait for it, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from manager.allowance import Blocked
from manager.counts import DiskUse
from manager.disk import SOON_S, DiskUses
from manager.errors import LimitReached
from manager.permits import UserLimits
from manager.records import User
from manager.states import State
from tests.support.house import House
from tests.support.web import NOW, Site

MIB = 1 << 20
LIMIT = 100


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path, DISK_SOFT_LIMIT=str(LIMIT))
    yield built
    built.close()


@pytest.fixture
def ann(house: House) -> User:
    return house.user("ann")


def takes(house: House, user: User, mib: float, *, complete: bool = True) -> None:
    use = DiskUse(user.id, house.clock.now, 1.0, {"output": int(mib * MIB)}, complete)
    house.store.write(lambda t: t.disk_use.put(use))


def is_refused(house: House, user: User) -> LimitReached:
    with pytest.raises(LimitReached) as refusal:
        house.lifecycle.start(user)
    assert refusal.value.key == "limit_reached.disk"
    return refusal.value


def test_a_start_waits_until_there_is_less(house: House, ann: User) -> None:
    takes(house, ann, LIMIT + 1)
    assert is_refused(house, ann).params == {"used": "0.1 GiB", "limit": "0.1 GiB"}
    with pytest.raises(LimitReached):
        house.lifecycle.line.join(ann)
    assert house.lifecycle.limits.blocked(ann.id) == Blocked(
        "disk", used=(LIMIT + 1) * MIB, limit=LIMIT * MIB
    )
    takes(house, ann, LIMIT)
    assert house.lifecycle.limits.blocked(ann.id) is None
    assert house.lifecycle.start(ann).state is State.STARTING


def test_what_runs_goes_on_and_others_are_not_concerned(house: House, ann: User) -> None:
    port = house.run(ann).port
    takes(house, ann, 99 * LIMIT)
    house.pass_time(60)
    assert not house.lifecycle.limits.is_over(house.row(port))
    assert not house.lifecycle.limits.is_shut(house.row(port))
    assert house.row(port).state is State.RUNNING
    assert house.lifecycle.start(house.user("bob"))


def test_what_is_not_known_or_at_least_so_much(house: House, ann: User) -> None:
    takes(house, ann, LIMIT / 2, complete=False)
    assert house.lifecycle.limits.blocked(ann.id) is None
    takes(house, ann, LIMIT + 1, complete=False)
    is_refused(house, ann)
    assert house.lifecycle.limits.blocked(house.user("bob").id) is None


def test_an_admin_sets_it_for_one(house: House, ann: User) -> None:
    takes(house, ann, LIMIT + 1)
    house.lifecycle.limits.put(UserLimits(ann.id, disk_limit=0), by=ann)
    assert house.lifecycle.limits.blocked(ann.id) is None
    house.lifecycle.limits.put(UserLimits(ann.id, disk_limit=LIMIT + 2), by=ann)
    assert house.lifecycle.limits.blocked(ann.id) is None
    house.lifecycle.limits.put(UserLimits(ann.id, disk_limit=1), by=ann)
    is_refused(house, ann)
    assert house.store.read(lambda t: t.limits.of_user(ann.id)).disk_limit == 1


@pytest.mark.parametrize("environ", [{}, {"DISK_SOFT_LIMIT": "1", "DISK_USE_INTERVAL": "0"}])
def test_off_by_default_and_where_nobody_counts(tmp_path: Path, environ: dict[str, str]) -> None:
    house = House(tmp_path, **environ)
    ann = house.user("ann")
    takes(house, ann, 1 << 20)
    assert house.lifecycle.limits.blocked(ann.id) is None
    assert house.lifecycle.start(ann)
    house.close()


def test_who_makes_room_is_counted_soon_and_his_page_is_told(house: House, ann: User) -> None:
    house.store.write(lambda t: t.users.set_workspace(ann.id, f"{ann.id}-ann-ab"))
    told: dict[str, Any] = {"folders": {"output": 999 * MIB}, "complete": True}
    disk = DiskUses(house.settings, house.store, lambda _path: told, house.clock)
    heard: list[int] = []
    disk.changed = heard.append
    assert disk.look()
    is_refused(house, ann)
    house.pass_time(SOON_S + 1)
    assert not disk.look()
    told["folders"] = {"output": MIB}
    disk.touch(ann.id)
    assert disk.look()
    assert heard == [ann.id, ann.id]
    assert house.lifecycle.start(ann)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, DISK_SOFT_LIMIT="1024")


def uses(site: Site, gib: float, folder: str = "output") -> None:
    site.house.accounts.all[2] = site.house.accounts.add(2, "ann", workspace="2-ann-ab")
    size = int(gib * (1 << 30))
    site.house.disk.known[2] = DiskUse(2, NOW, 1.0, {folder: size}, True)


WORDS = {
    "en": {
        "near": "Your files take 95 % of the 1.0 GiB that you may have.",
        "over": "You can start no other ComfyUI until they take less",
        "do": "Delete what you no longer need under “Recent images” below",
        "full": "Your files take too much room",
        "explain": "They take 1.5 GiB, and 1.0 GiB is what you may have.",
    },
    "zh_CN": {
        "near": "您的文件已占用上限 1.0 GiB 的 95%。",
        "over": "在降到上限以下之前不能再启动 ComfyUI",
        "do": "请在下方“最近的图片”中删除不再需要的文件",
        "full": "您的文件占用空间过多",
        "explain": "文件占用 1.5 GiB，上限为 1.0 GiB。",
    },
}


@pytest.mark.parametrize("language", sorted(WORDS))
def test_a_page_warns_and_says_what_to_do(site: Site, language: str) -> None:
    words = WORDS[language]
    ann = site.visitor("ann", **{"Accept-Language": language.replace("_", "-")})
    uses(site, 0.9)
    assert ann.get("/api/user/disk").get_json()["warning"] is None
    uses(site, 0.955)
    assert words["near"] in ann.get("/").text
    assert words["do"] in ann.get("/").text
    uses(site, 1.5, "home")
    told = ann.get("/api/user/disk").get_json()["warning"]
    assert (told["over"], told["share"], told["biggest"]) == (True, 150, "home")
    site.house.lifecycle.limits.blocks[2] = Blocked("disk", used=3 << 29, limit=1 << 30)
    page = ann.get("/").text
    assert words["do"] not in page
    for name in ("over", "full", "explain"):
        assert words[name] in page
    assert "hidden" in page.split('data-form="start"')[1].split(">")[0]
    assert ann.get("/api/user/state").get_json()["phase"] == "disk_full"


def test_admins_see_who_takes_how_much_of_what(site: Site) -> None:
    uses(site, 1.5)
    admin = site.visitor("admin")
    users = admin.get("/api/admin/overview").get_json()["users"]
    told = {one["username"]: (one["disk_total"], one["disk_limit"]) for one in users}
    assert told["ann"] == (3 << 29, 1 << 30)
    assert told["bob"] == (None, 1 << 30)
    page = admin.get("/admin").text
    assert 'data-field="disk_total" data-level="over">1.5 GiB of 1.0 GiB<' in page


def test_the_api_takes_it_in_mib_and_may_leave_it_out(site: Site) -> None:
    admin = site.visitor("admin")
    plain = {"priority": "normal", "sessions_at_once": None, "day_limit": None}
    body = {**plain, "session_limit": None}
    own = site.house.lifecycle.limits.own

    def put(wanted: dict[str, Any]) -> Any:
        return admin.send("PUT", "/api/admin/users/2/limits", json=wanted)

    assert put({**body, "disk_limit": 7}).status_code == 200
    assert own[2].disk_limit == 7
    assert put(body).status_code == 200
    assert own[2].disk_limit is None
    assert put({**body, "disk_limit": -1}).status_code == 400
