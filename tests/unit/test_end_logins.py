"""An admin logs somebody out everywhere: the logins end, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import settings
from manager.accounts import Accounts
from manager.errors import NotFound
from manager.records import OPERATOR
from manager.store import Store
from tests.support.web import ORIGIN, Site

GOOD = "correct horse battery"


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    store = Store(tmp_path / "db", 1)
    made = Accounts(settings.load({}, root=tmp_path), store)
    yield made
    store.close()


def test_his_logins_end_and_nobody_else_s(accounts: Accounts) -> None:
    ann = accounts.create_user(OPERATOR, "ann", GOOD)
    accounts.create_user(OPERATOR, "bob", GOOD)
    hers = [accounts.login("ann", GOOD, "192.0.2.1")[1] for _ in range(2)]
    _, his = accounts.login("bob", GOOD, "192.0.2.2")
    assert accounts.own.end_all(OPERATOR, ann.id).is_active
    assert [accounts.who(sid) for sid in hers] == [None, None]
    assert accounts.who(his)
    newest = accounts._store.read(lambda t: t.audit.latest(1))[0]
    assert (newest.actor, newest.action, newest.subject) == (
        *(OPERATOR.username, "sessions_ended"),
        "ann",
    )
    assert accounts.login("ann", GOOD, "192.0.2.1")
    with pytest.raises(NotFound):
        accounts.own.end_all(OPERATOR, 99)


def test_his_open_pages_are_closed(tmp_path: Path) -> None:
    site = Site(tmp_path)
    ann, admin = site.visitor("ann"), site.visitor("admin")
    page = ann.connect(ORIGIN)
    answer = admin.send("DELETE", f"/api/admin/users/{site.house.ann.id}/sessions")
    assert answer.status_code == 200
    site.live.push(0.0)
    assert not page.is_connected()
    assert ann.get("/api/user/state").status_code == 401
    assert admin.get("/api/user/state").status_code == 200
