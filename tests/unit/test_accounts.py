"""Accounts: who gets in, what is refused, and what ends at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.security import check_password_hash, generate_password_hash

from manager import credentials as room
from manager import settings
from manager.accounts import Accounts
from manager.errors import (
    BadInput,
    Conflict,
    NotAuthenticated,
    NotFound,
    TooManyAttempts,
)
from manager.records import User
from manager.states import State
from manager.store import Store

GOOD = "correct horse"
NEW = "battery staple"
HERE = "127.0.0.1"


REAL_HASHES = (room.hash_password, room._no_password)


def _cheap(password: str = "") -> str:
    return generate_password_hash(password, method="pbkdf2:sha256:1")


class Clock:
    """UTC epoch seconds that stand still until moved."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with few rounds: the cost of scrypt is not what is tested here."""
    for name in ("hash_password", "_no_password"):
        monkeypatch.setattr(room, name, _cheap)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "manager.db", 1)
    opened.write(lambda t: t.ports.ensure([8001, 8002, 8003, 8004]))
    yield opened
    opened.close()


@pytest.fixture
def accounts(store: Store, clock: Clock) -> Accounts:
    made = Accounts(settings.load({}), store, clock)
    assert made.ensure_admin()
    return made


@pytest.fixture
def admin(accounts: Accounts) -> User:
    return accounts.users()[0]


def test_the_first_admin_must_change_the_printed_password(accounts: Accounts, store: Store) -> None:
    user, sid = accounts.login("admin", "admin123", HERE)
    assert user.is_admin
    assert user.must_change_password
    accounts.change_password(user, "admin123", GOOD, keep_sid=sid)
    found = accounts.who(sid)
    assert found is not None
    assert not found.must_change_password
    assert not accounts.ensure_admin()


def test_the_printed_password_must_go_wherever_it_came_from(
    accounts: Accounts, store: Store
) -> None:
    stored = store.read(lambda t: t.users.password_hash(1))
    store.write(lambda t: t.users.set_password(1, stored, must_change=False))
    user, _ = accounts.login("admin", "admin123", HERE)
    assert user.must_change_password


def test_the_hash_in_use_is_scrypt() -> None:
    hash_password, no_password = REAL_HASHES
    for made in (hash_password("x"), no_password()):
        assert made.startswith("scrypt:32768:8:1")


def test_a_wrong_name_and_a_wrong_password_sound_the_same(accounts: Accounts) -> None:
    messages = set()
    for name, password in (("admin", "wrong"), ("nobody", "admin123"), ("", "")):
        with pytest.raises(NotAuthenticated) as refusal:
            accounts.login(name, password, HERE)
        messages.add((refusal.value.key, str(refusal.value)))
    assert len(messages) == 1


def test_an_unknown_name_costs_a_hash_too(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []

    def check(stored: str, password: str) -> bool:
        checked.append(stored)
        return check_password_hash(stored, password)

    monkeypatch.setattr(room, "check_password_hash", check)
    with pytest.raises(NotAuthenticated):
        accounts.login("nobody", "x", HERE)
    assert len(checked) == 1
    assert checked[0]


def test_a_hash_written_by_hand_lets_nobody_in(accounts: Accounts, store: Store) -> None:
    for written in ("admin123_hash", "", "md4$x$y", "plain$$admin123"):
        store.write(lambda t, w=written: t.users.set_password(1, w, must_change=False))  # type: ignore[misc]
        with pytest.raises(NotAuthenticated):
            accounts.login("admin", "admin123", f"10.0.0.{len(written)}")


def test_tries_are_throttled_with_an_honest_time(accounts: Accounts) -> None:
    for _ in range(6):
        with pytest.raises(NotAuthenticated):
            accounts.login("admin", "wrong", HERE)
    with pytest.raises(TooManyAttempts) as refusal:
        accounts.login("admin", "admin123", HERE)
    assert 1 <= refusal.value.retry_after <= 61
    # The owner elsewhere is not locked out by it.
    assert accounts.login("admin", "admin123", "127.0.0.2")[0].is_admin


def test_who_tries_a_name_from_everywhere_does_not_keep_its_owner_out(accounts: Accounts) -> None:
    accounts.login("admin", "admin123", HERE)
    with pytest.raises(TooManyAttempts):
        for number in range(1000):
            with pytest.raises(NotAuthenticated):
                accounts.login("admin", "wrong", f"10.0.{number // 250}.{number % 250}")
    with pytest.raises(TooManyAttempts):
        accounts.login("admin", "admin123", "10.1.1.1")
    assert accounts.login("admin", "admin123", HERE)[0].is_admin, "where he has been before"
    for _ in range(6):
        with pytest.raises(NotAuthenticated):
            accounts.login("admin", "wrong", HERE)
    with pytest.raises(TooManyAttempts):
        accounts.login("admin", "wrong", HERE)


def test_who_mistypes_a_password_on_the_own_page_keeps_nobody_else_from_it(
    accounts: Accounts, caplog: pytest.LogCaptureFixture
) -> None:
    admin, sid = accounts.login("admin", "admin123", HERE)
    users = [accounts.create_user(admin, f"user{n}", "a long password") for n in range(2)]
    with pytest.raises(TooManyAttempts):
        for _ in range(100):
            with pytest.raises(NotAuthenticated):
                accounts.change_password(users[0], "wrong", "another one", keep_sid=sid)
    for _ in range(100):
        with pytest.raises(TooManyAttempts):
            accounts.change_password(users[0], "wrong", "another one", keep_sid=sid)
    accounts.change_password(users[1], "a long password", "another one", keep_sid=sid)
    told = f"user {users[0].id} is logged in and has given a wrong password"
    assert caplog.messages.count(told) == 6


def test_all_of_a_subscribers_ipv6_addresses_are_one(accounts: Accounts) -> None:
    with pytest.raises(TooManyAttempts):
        for number in range(100):
            with pytest.raises(NotAuthenticated):
                accounts.login(f"nobody{number}", "wrong", f"2001:db8:1:2::{number:x}")
    with pytest.raises(NotAuthenticated):
        accounts.login("nobody", "wrong", "2001:db8:1:3::1")


def test_a_full_line_of_strangers_is_refused_and_holds_up_nobody_who_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = _cheap(GOOD)
    monkeypatch.setattr(room, "STRANGERS_MAX", 1)
    line = room.Strangers()
    monkeypatch.setattr(room, "_strangers", lambda: line)
    assert room.matches(stored, GOOD)
    with line.place():
        with pytest.raises(TooManyAttempts) as refusal:
            room.matches(stored, GOOD)
        assert refusal.value.retry_after == room.FULL_WAIT_S
        assert room.matches(stored, GOOD, known=True)
    assert room.matches(stored, GOOD), "there is a place again"


def test_one_address_cannot_try_many_names(accounts: Accounts) -> None:
    with pytest.raises(TooManyAttempts):
        for number in range(80):
            with pytest.raises(NotAuthenticated):
                accounts.login(f"user{number}", "x", HERE)


def test_sessions_expire(accounts: Accounts, clock: Clock) -> None:
    _, sid = accounts.login("admin", "admin123", HERE)
    clock.now += 12 * 3600 - 1
    assert accounts.who(sid) is not None
    clock.now += 1
    assert accounts.who(sid) is None


def test_logout_ends_the_session(accounts: Accounts) -> None:
    _, sid = accounts.login("admin", "admin123", HERE)
    accounts.logout(sid)
    assert accounts.who(sid) is None
    assert accounts.who("") is None


@pytest.mark.parametrize("end", ["disable", "delete", "reset", "own change"])
def test_what_changes_an_account_ends_its_sessions_at_once(
    accounts: Accounts, admin: User, end: str
) -> None:
    bob = accounts.create_user(admin, "bob", GOOD)
    _, sid = accounts.login("bob", GOOD, HERE)
    _, other = accounts.login("bob", GOOD, HERE)
    if end == "disable":
        accounts.update_user(admin, bob.id, is_active=False)
    elif end == "delete":
        accounts.delete_user(admin, bob.id)
    elif end == "reset":
        accounts.reset_password(admin, bob.id)
    else:
        accounts.change_password(bob, GOOD, NEW, keep_sid=other)
        assert accounts.who(other) is not None
        other = sid
    assert accounts.who(sid) is None
    assert accounts.who(other) is None


def test_a_disabled_account_does_not_log_in(accounts: Accounts, admin: User) -> None:
    bob = accounts.create_user(admin, "bob", GOOD)
    accounts.update_user(admin, bob.id, is_active=False)
    with pytest.raises(NotAuthenticated):
        accounts.login("bob", GOOD, HERE)


def test_a_reset_password_works_once_shown(accounts: Accounts, admin: User) -> None:
    bob = accounts.create_user(admin, "bob", GOOD)
    shown = accounts.reset_password(admin, bob.id)
    user, _ = accounts.login("bob", shown, HERE)
    assert user.must_change_password
    with pytest.raises(NotAuthenticated):
        accounts.login("bob", GOOD, HERE)


@pytest.mark.parametrize(
    "name",
    ["", " ", "../../etc", "a/b", "a\\b", ".hidden", "-rf", "a" * 65, "a" * 300, "🙂", "bob🙂",
     'a"b', "a'b", "a b", "a\nb", "a\x00b", "<b>", "a;b", "_x"],
)  # fmt: skip
def test_names_that_could_hurt_are_refused(accounts: Accounts, admin: User, name: str) -> None:
    with pytest.raises(BadInput) as refusal:
        accounts.create_user(admin, name, GOOD)
    assert refusal.value.key == "bad_input.username"


@pytest.mark.parametrize("name", ["bob", "Bob2", "张伟", "zhang.san", "a_b-c@lab", "é"])
def test_names_people_have_are_taken(accounts: Accounts, admin: User, name: str) -> None:
    assert accounts.create_user(admin, name, GOOD).username == name
    with pytest.raises(Conflict):
        accounts.create_user(admin, name.upper(), GOOD)


@pytest.mark.parametrize("password", ["", "short", "x" * 257, "admin123", "longname"])
def test_weak_passwords_are_refused(accounts: Accounts, admin: User, password: str) -> None:
    with pytest.raises(BadInput):
        accounts.create_user(admin, "longname", password)
    assert len(accounts.users()) == 1


def test_a_port_outside_the_table_is_refused(accounts: Accounts, admin: User) -> None:
    with pytest.raises(BadInput, match="8001, 8002, 8003, 8004"):
        accounts.create_user(admin, "bob", GOOD, assigned_port=8009)
    bob = accounts.create_user(admin, "bob", GOOD, assigned_port=8002)
    assert accounts.update_user(admin, bob.id, is_admin=True).assigned_port == 8002
    assert accounts.update_user(admin, bob.id, assigned_port=None).assigned_port is None


def test_the_last_admin_stays(accounts: Accounts, admin: User) -> None:
    for change in (
        lambda: accounts.delete_user(admin, admin.id),
        lambda: accounts.update_user(admin, admin.id, is_active=False),
        lambda: accounts.update_user(admin, admin.id, is_admin=False),
    ):
        with pytest.raises(Conflict):
            change()
    bob = accounts.create_user(admin, "bob", GOOD)
    with pytest.raises(Conflict) as refusal:
        accounts.update_user(bob, admin.id, is_admin=False)
    assert refusal.value.key == "conflict.last_admin"


def test_a_user_with_an_instance_is_not_deleted(
    accounts: Accounts, admin: User, store: Store
) -> None:
    bob = accounts.create_user(admin, "bob", GOOD)
    held = {"current_user_id": bob.id, "current_username": "bob", "launch_id": "l"}
    store.write(lambda t: t.ports.move(8001, before=State.IDLE, after=State.STARTING, values=held))
    with pytest.raises(Conflict) as refusal:
        accounts.delete_user(admin, bob.id)
    assert refusal.value.key == "conflict.still_running"


def test_unknown_users_are_not_found(accounts: Accounts, admin: User) -> None:
    for change in (
        lambda: accounts.user(99),
        lambda: accounts.update_user(admin, 99, is_active=True),
        lambda: accounts.delete_user(admin, 99),
        lambda: accounts.reset_password(admin, 99),
    ):
        with pytest.raises(NotFound):
            change()


def test_no_secret_is_in_the_audit(accounts: Accounts, admin: User, store: Store) -> None:
    bob = accounts.create_user(admin, "bob", GOOD)
    shown = accounts.reset_password(admin, bob.id)
    _, sid = accounts.login("bob", shown, HERE)
    with pytest.raises(NotAuthenticated):
        accounts.login("bob", "guess-of-a-password", HERE)
    text = repr(store.read(lambda t: t.audit.latest(100)))
    assert "login_failed" in text
    for secret in (GOOD, shown, sid, "guess-of-a-password"):
        assert secret not in text
