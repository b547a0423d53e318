"""The table of accounts: what is read, what is refused, and that nothing is half brought in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.security import generate_password_hash

from manager import credentials, roster, settings
from manager.accounts import UNCHANGED, Accounts
from manager.errors import BadInput, Conflict
from manager.records import OPERATOR
from manager.store import Store

PORTS = (8001, 8002)
TABLE = "username,is_admin,assigned_port,is_active,password\n"


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        credentials,
        "hash_password",
        lambda password: generate_password_hash(password, method="pbkdf2:sha256:1"),
    )


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    store = Store(tmp_path / "manager.db", 1)
    made = Accounts(settings.load({}, root=tmp_path), store)
    made.ensure_admin()
    yield made
    store.close()


def bring(accounts: Accounts, text: str, *, update: bool = False) -> dict[str, str]:
    rows = roster.read(text)
    return dict(roster.bring_in(accounts, OPERATOR, rows, PORTS, update=update))


def test_what_is_written_is_read_again(accounts: Accounts) -> None:
    bring(accounts, f"{TABLE}ann,,8002,no,\n李雷,yes,,,good password\n")
    written = roster.write(accounts.users())
    assert [
        (row.username, row.is_admin, row.assigned_port, row.is_active)
        for row in (roster.read(written))
    ] == [("admin", True, None, True), ("ann", False, 8002, False), ("李雷", True, None, True)]


def test_passwords_are_made_where_none_is_given_and_work(accounts: Accounts) -> None:
    made = bring(accounts, f"{TABLE}ann,,,,\nbob,,,,bob's own one\n")
    assert set(made) == {"ann"}
    assert accounts.login("ann", made["ann"], "here")[0].must_change_password
    assert accounts.login("bob", "bob's own one", "here")[0].must_change_password


def test_a_table_of_a_spreadsheet_is_read() -> None:
    (row,) = roster.read("\ufeffusername,is_active\r\nann,TRUE\r\n")
    assert (row.username, row.is_active, row.assigned_port) == ("ann", True, UNCHANGED)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (".ann,,,,\n", "line 3: a name has"),
        ("ann,maybe,,,\n", "is_admin is true or false, not maybe"),
        ("ann,,port,,\n", "assigned_port is a number"),
        ("ann,,,,short\n", "a password has"),
        ("ann,,\n", "not as many cells"),
        ("ann,,,,,,\n", "not as many cells"),
        ("ann,,,,\nANN,,,,\n", "stands in line 3 already"),
        ("ann,,8009,,\n", "there is no port 8009"),
        ("admin,,,,\n", "admin is there already"),
        ("Admin,,,,\n", "too like admin"),
        ('"ann\n', "is not CSV"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_written(
    accounts: Accounts, lines: str, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        bring(accounts, f"{TABLE}good,,,,\n{lines}")
    assert [user.username for user in accounts.users()] == ["admin"]


def test_every_wrong_line_is_named_at_once() -> None:
    with pytest.raises(BadInput) as refused:
        roster.read(f"{TABLE}.a,,,,\nb,x,,,\n")
    assert "line 2" in str(refused.value)
    assert "line 3" in str(refused.value)


@pytest.mark.parametrize("head", ["name\n", "username,hash\n", ""])
def test_unknown_columns_are_refused(head: str) -> None:
    with pytest.raises(BadInput, match="the first line names the columns"):
        roster.read(head)


def test_an_update_changes_what_is_said_and_leaves_the_rest(accounts: Accounts) -> None:
    bring(accounts, f"{TABLE}ann,yes,8001,,\n")
    assert bring(accounts, "username,assigned_port\nann,8002\n", update=True) == {}
    ann = accounts.users()[1]
    assert (ann.is_admin, ann.assigned_port, ann.is_active) == (True, 8002, True)


def test_an_update_gives_nobody_another_password(accounts: Accounts) -> None:
    with pytest.raises(BadInput, match="keeps its password"):
        bring(accounts, f"{TABLE}admin,,,,another password\n", update=True)


def test_an_update_leaves_one_admin(accounts: Accounts) -> None:
    with pytest.raises(Conflict, match="last admin"):
        bring(accounts, f"{TABLE}admin,no,,,\n", update=True)
