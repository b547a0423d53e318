"""A person's logins: seen by himself alone, ended one by one or all but this one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import settings
from manager.accounts import Accounts
from manager.errors import NotFound, StoreFailed
from manager.own_sessions import SEEN_EVERY_S
from manager.records import OPERATOR, User
from manager.store import Store, Tables
from manager.web.agents import describe
from tests.support.web import Site

NOW = 1_790_000_000.0
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
EDGE = "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1"


class House:
    """Accounts on a real store, with a clock that stands until told."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.store = Store(folder / "db")
        self.now = NOW
        of = settings.load(environ, root=folder)
        self.accounts = Accounts(of, self.store, clock=lambda: self.now)
        self.accounts.ensure_admin()
        self.admin = self.accounts.users()[0]
        self.accounts.reset_password(OPERATOR, self.admin.id, "a good password")
        self.ann = self.accounts.create_user(self.admin, "ann", "a good password")

    def log_in(self, address: str = "192.0.2.1", name: str = "ann") -> str:
        return self.accounts.login(name, "a good password", address)[1]

    def rows(self) -> int:
        return self.store.read(lambda t: len(t.sessions.of_user(self.ann.id, "", 0)))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.store.close()


def test_logins_tell_when_from_where_and_by_what(house: House) -> None:
    first = house.log_in("192.0.2.1")
    house.now += 60
    second = house.log_in("192.0.2.2")
    house.accounts.own.seen(second, FIREFOX)
    this, other = house.accounts.own.list(house.ann, first)
    assert (this.is_this, this.created_at, this.address, this.seen_at) == (
        *(True, NOW, "192.0.2.1"),
        None,
    )
    assert (other.is_this, other.seen_at, other.user_agent) == (False, NOW + 60, FIREFOX)
    assert first not in str([this, other])


def test_nobody_elses_logins_are_listed_or_ended(house: House) -> None:
    house.log_in()
    foreign = house.log_in(name="admin")
    (own,) = house.accounts.own.list(house.ann, "")
    (handle,) = (one.handle for one in house.accounts.own.list(house.admin, foreign))
    assert own.handle != handle
    with pytest.raises(NotFound):
        house.accounts.own.end(house.ann, handle)
    house.accounts.own.end_others(house.ann, foreign)
    assert house.accounts.who(foreign) is not None
    assert house.rows() == 0


@pytest.mark.parametrize("handle", ["", "%", "' OR 1=1 --"])
def test_only_a_whole_handle_names_one(house: House, handle: str) -> None:
    house.log_in()
    with pytest.raises(NotFound):
        house.accounts.own.end(house.ann, handle)


def test_expired_logins_are_not_listed(house: House) -> None:
    house.log_in()
    house.now += 400 * 24 * 3600
    assert house.accounts.own.list(house.ann, "") == []


@pytest.fixture
def idle_house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path, SESSION_IDLE_MINUTES="30")
    yield made
    made.store.close()


def test_a_login_that_is_not_used_ends_after_the_idle_limit(idle_house: House) -> None:
    house = idle_house
    used, left = house.log_in(), house.log_in()
    # A use is written every third minute at most, which the limit allows for.
    for _ in range(11):
        house.now += 3 * 60
        assert house.accounts.who(used) is not None
        house.accounts.own.seen(used, FIREFOX)
    assert house.accounts.who(left) is None
    assert [one.is_this for one in house.accounts.own.list(house.ann, used)] == [True]
    house.log_in()
    assert house.rows() == 2, "what has ended is forgotten with the next login"
    house.now += 30 * 60
    assert house.accounts.who(used) is not None, "never sooner than the limit"
    house.now += 3 * 60
    assert house.accounts.who(used) is None


def test_without_an_idle_limit_a_login_lasts_its_hours(house: House) -> None:
    unused = house.log_in()
    house.now += 12 * 3600 - 1
    assert house.accounts.who(unused) is not None


@pytest.mark.parametrize(
    ("address", "is_admin"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("192.0.2.1", False), ("", False)],
)
def test_an_admin_elsewhere_has_a_users_rights(
    tmp_path: Path, address: str, *, is_admin: bool
) -> None:
    house = House(tmp_path, ADMIN_NETWORKS="10.0.0.0/8,fd00::/8")
    session = house.log_in(name="admin")
    found = house.accounts.who(session, address)
    assert found is not None
    assert (found.username, found.is_admin) == ("admin", is_admin)
    house.store.close()


def test_one_is_ended_or_all_but_this(house: House) -> None:
    here, there, third = (house.log_in() for _ in range(3))
    handles = {one.is_this: one.handle for one in house.accounts.own.list(house.ann, there)}
    house.accounts.own.end(house.ann, handles[True])
    assert house.accounts.who(there) is None
    house.accounts.own.end_others(house.ann, here)
    assert house.accounts.who(here) is not None
    assert house.accounts.who(third) is None


def test_visits_are_written_now_and_then(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = house.log_in()
    written = []
    real = house.store.write

    def counting(work):
        written.append(house.now)
        return real(work)

    monkeypatch.setattr(house.store, "write", counting)
    for after in (0, 1, SEEN_EVERY_S - 1, SEEN_EVERY_S, SEEN_EVERY_S + 1):
        house.now = NOW + after
        house.accounts.own.seen(sid, "x" * 9999)
    assert written == [NOW, NOW + SEEN_EVERY_S]
    (one,) = house.accounts.own.list(house.ann, sid)
    assert (one.seen_at, len(one.user_agent)) == (NOW + SEEN_EVERY_S, 256)


def test_a_full_disk_keeps_nobody_out(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_work: object) -> Tables:
        raise StoreFailed("disk full")

    monkeypatch.setattr(house.store, "write", refuses)
    house.accounts.own.seen("sid", FIREFOX)


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (FIREFOX, "Firefox · Linux"),
        (EDGE, "Edge · Windows"),
        (IPHONE, "Safari · iPhone"),
        ("python-requests/2.34", "Python"),
        ("<script>", ""),
        ("", ""),
    ],
)
def test_browsers_by_name(agent: str, words: str) -> None:
    assert describe(agent) == words


def test_the_page_marks_this_login_and_ends_others(tmp_path: Path) -> None:
    site = Site(tmp_path)
    here, there = site.visitor("ann", **{"User-Agent": EDGE}), site.visitor("ann")
    third, bob = site.visitor("ann"), site.visitor("bob")
    page = here.get("/account").text
    assert page.count("data-login=") == 3
    assert page.count("This browser") == 1
    assert "Edge · Windows" in page
    assert "from 192.0.2.7" in page
    own = {sid for sid, of in site.house.accounts.sessions.items() if of == site.house.ann.id}
    second = sorted(own)[1]
    assert here.post("/account/end", data={"handle": second}).headers["Location"] == "/account"
    assert there.get("/api/user/state").status_code == 401
    assert bob.post("/account/end", data={"handle": second}).status_code == 404
    assert here.post("/account/end-others").headers["Location"] == "/account"
    assert third.get("/api/user/state").status_code == 401
    assert "Log out everywhere else" not in here.get("/account").text
    (left,) = own & set(site.house.accounts.sessions)
    assert here.post("/account/end", data={"handle": left}).headers["Location"] == "/login"
    assert bob.get("/api/user/state").status_code == 200


def test_the_language_switch_of_the_page_comes_back_to_it(tmp_path: Path) -> None:
    visitor = Site(tmp_path).visitor("ann")
    answer = visitor.post("/language", data={"language": "zh_CN", "next": "/account"})
    assert answer.headers["Location"] == "/account"
    assert "我的账号" in visitor.get("/account").text


@pytest.mark.parametrize("how", ["end", "end-others"])
def test_an_ended_login_loses_its_open_page_at_once(tmp_path: Path, how: str) -> None:
    site = Site(tmp_path)
    here, there = site.visitor("ann"), site.visitor("ann")
    first, second = sorted(site.house.accounts.sessions)
    mine, other = here.connect(), there.connect()
    # The first look comes by itself; only what follows is due to the act.
    site.live.push(0.0)
    here.post(f"/account/{how}", data={"handle": second})
    site.live.push(0.0)
    assert not other.is_connected()
    assert mine.is_connected()
    assert set(site.house.accounts.sessions) == {first}


def test_owners_are_those_whom_each_login_would_let_in(house: House) -> None:
    first, foreign = house.log_in(), house.log_in(name="admin")
    asked = [first, foreign, "none", *(f"unknown-{n}" for n in range(1200))]

    def one_by_one() -> dict[str, User]:
        found = {sid: house.accounts.who(sid) for sid in asked}
        return {sid: user for sid, user in found.items() if user}

    assert house.accounts.own.owners(asked) == one_by_one()
    assert set(one_by_one()) == {first, foreign}
    house.accounts.update_user(house.accounts.user(1), house.ann.id, is_active=False)
    assert house.accounts.own.owners(asked) == one_by_one()
    assert set(one_by_one()) == {foreign}
    house.now += 400 * 24 * 3600
    assert house.accounts.own.owners(asked) == {}


def test_a_login_gets_another_id_and_keeps_all_else(house: House) -> None:
    sid = house.log_in()
    other = house.log_in("192.0.2.2")
    house.accounts.own.seen(sid, FIREFOX)
    new = house.accounts.own.renew(sid)
    assert new != sid
    assert house.accounts.who(sid) is None
    assert house.accounts.who(new) == house.accounts.who(other)
    this, _ = house.accounts.own.list(house.ann, new)
    assert (this.is_this, this.address, this.user_agent) == (True, "192.0.2.1", FIREFOX)
    assert house.accounts.own.renew("nobody's") == "nobody's"
    assert house.rows() == 2
