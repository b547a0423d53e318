"""Many accounts at once, on a real store: all or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.security import check_password_hash

from manager import credentials, settings
from manager.accounts import Accounts
from manager.credentials import MADE_METHOD
from manager.errors import BadInput, Conflict, NotAuthenticated, NotFound
from manager.people import Newcomer
from manager.permits import UserLimits
from manager.records import OPERATOR, User
from manager.store import Store
from tests.support.house import House


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    store = Store(tmp_path / "manager.db", 1)
    made = Accounts(settings.load({}, root=tmp_path), store)
    made.ensure_admin()
    yield made
    store.close()


def names(accounts: Accounts) -> list[str]:
    return [user.username for user in accounts.users()]


def hash_of(accounts: Accounts, user: User) -> str:
    return accounts._store.read(lambda t: t.users.password_hash(user.id))


def audit(accounts: Accounts) -> list[tuple[str, str]]:
    rows = accounts._store.read(
        lambda t: t.audit._connection.execute(
            "SELECT subject, detail FROM audit WHERE action LIKE 'user_%' ORDER BY id"
        ).fetchall()
    )
    return [tuple(row) for row in rows]


def test_five_hundred_are_made_in_one_transaction(accounts: Accounts) -> None:
    crowd = [Newcomer(f"李雷{number}") for number in range(500)]
    added = accounts.people.create(OPERATOR, crowd)
    assert len({one.password for one in added}) == 500
    assert len(names(accounts)) == 501
    assert len(audit(accounts)) == 500
    user, _ = accounts.login("李雷7", added[7].password or "", "here")
    assert user.must_change_password


@pytest.mark.parametrize(
    "wrong",
    [
        Newcomer("ADMIN"),
        Newcomer("Ann"),
        Newcomer(".bad"),
        Newcomer("carl", "short"),
        Newcomer("carl", assigned_port=99),
    ],
)
def test_one_that_does_not_fit_makes_none(accounts: Accounts, wrong: Newcomer) -> None:
    with pytest.raises((BadInput, Conflict)):
        accounts.people.create(OPERATOR, [Newcomer("ann"), wrong])
    assert names(accounts) == ["admin"]
    assert audit(accounts) == []


def test_what_is_given_is_kept_and_hashed_slowly(accounts: Accounts) -> None:
    added = accounts.people.create(
        OPERATOR, [Newcomer("ann", "a good password", True, 8001, False), Newcomer("bob")]
    )
    ann, bob = (one.user for one in added)
    assert added[0].password is None
    assert (ann.is_admin, ann.assigned_port, ann.is_active) == (True, 8001, False)
    assert audit(accounts) == [("ann", "active=False"), ("bob", "")]
    stored = [hash_of(accounts, one) for one in (ann, bob)]
    assert stored[0].startswith("scrypt:")
    assert stored[1].startswith(MADE_METHOD)
    with pytest.raises(NotAuthenticated):
        accounts.login("ann", "a good password", "here")


def test_a_made_password_is_long_unlike_others_and_safe_in_a_spreadsheet() -> None:
    made = [credentials.new_password() for _ in range(200)]
    assert len(set(made)) == 200
    assert all(len(one) >= 14 and one.isalnum() and one.isascii() for one in made)
    assert not set("".join(made)) & set("0O1lI")


def test_a_made_password_costs_the_same_time_to_try(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ann,) = accounts.people.create(OPERATOR, [Newcomer("ann")])
    tried: list[str] = []

    def check(stored: str, given: str) -> bool:
        tried.append(stored)
        return check_password_hash(stored, given)

    monkeypatch.setattr(credentials, "check_password_hash", check)
    assert credentials.matches(hash_of(accounts, ann.user), ann.password or "")
    assert tried[0].startswith("scrypt:"), "as for any other account, and for none at all"


def crowd(accounts: Accounts) -> list[User]:
    return [
        one.user for one in accounts.people.create(OPERATOR, [Newcomer("ann"), Newcomer("bob")])
    ]


def test_some_are_disabled_and_enabled_together(accounts: Accounts) -> None:
    ann, bob = crowd(accounts)
    root = accounts.users()[0]
    ids = [ann.id, bob.id, ann.id]
    changed = accounts.people.set_active(root, ids, active=False)
    assert [(one.username, one.is_active) for one in changed] == [("ann", False), ("bob", False)]
    assert accounts.people.set_active(root, ids, active=False) == [], "they are so already"
    assert len(accounts.people.set_active(root, [bob.id], active=True)) == 1
    assert audit(accounts)[2:] == [
        ("ann", "active=False admin=False port=any"),
        ("bob", "active=False admin=False port=any"),
        ("bob", "active=True admin=False port=any"),
    ]


def test_nobody_is_disabled_if_one_may_not_be(accounts: Accounts) -> None:
    ann, _ = crowd(accounts)
    root = next(user for user in accounts.users() if user.is_admin)
    for ids, kind in (([ann.id, root.id], Conflict), ([ann.id, 99], NotFound)):
        with pytest.raises(kind):
            accounts.people.set_active(root, ids, active=False)
    with pytest.raises(Conflict, match="last admin"):
        accounts.people.set_active(OPERATOR, [ann.id, root.id], active=False)
    assert all(user.is_active for user in accounts.users())


def test_the_last_login_is_the_account_s_own(tmp_path: Path) -> None:
    store = Store(tmp_path / "manager.db", 1)
    accounts = Accounts(settings.load({}, root=tmp_path), store)
    accounts.ensure_admin()
    made = accounts.people.create(OPERATOR, [Newcomer("ann"), Newcomer("bob")])
    accounts.login("ann", made[0].password or "", "here")
    ann = made[0].user
    assert set(accounts.people.last_logins()) == {ann.id}
    # Of an earlier account of the same name nothing is told.
    store.write(
        lambda t: t.users._connection.execute(
            "UPDATE users SET created_at = datetime('now', '+1 day') WHERE id = ?", (ann.id,)
        )
    )
    assert accounts.people.last_logins() == {}
    store.close()


def test_the_last_login_needs_no_walk_through_the_audit(accounts: Accounts) -> None:
    plan = accounts._store.read(
        lambda t: t.users._connection.execute(
            "EXPLAIN QUERY PLAN SELECT max(at) FROM audit WHERE action = 'login' "
            "AND actor = 'ann' AND at >= 0"
        ).fetchall()
    )
    assert "audit_last_login" in plan[0]["detail"]


def test_limits_are_set_for_all_of_them_or_for_none(tmp_path: Path) -> None:
    house = House(tmp_path)
    root, ann, bob = (house.user(name) for name in ("root", "ann", "bob"))
    limits = house.lifecycle.limits
    with pytest.raises(NotFound):
        limits.put(UserLimits(ann.id, "high"), UserLimits(99, "high"), by=root)
    assert limits.all() == {}
    limits.put(UserLimits(ann.id, "high"), UserLimits(bob.id, "high"), by=root)
    assert {one.priority for one in limits.all().values()} == {"high"}
    house.close()
