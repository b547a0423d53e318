"""The audit on a real file: lines that hang together, and stay."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import cli_audit, settings
from manager.audit import AuditTrail
from manager.audit_records import AuditFilter
from manager.records import AuditEntry
from manager.store import Store, Tables, peek_audit, verify_audit
from manager.store import database as database_module
from manager.store.audit_chain import START
from manager.store.database import MIGRATIONS, migrate, statements

ENTRIES = [
    AuditEntry(100.5, "admin", "login", "admin", address="192.0.2.7"),
    AuditEntry(200.0, "admin", "user_created", "小明"),
    AuditEntry(300.25, "小明", "login_failed", "小明", address="192.0.2.8"),
    AuditEntry(400, "manager", "instance_start", "小明", "port 8001", ""),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    store = Store(path, 1)

    def work(t: Tables) -> None:
        for entry in ENTRIES:
            t.audit.add(entry)

    store.write(work)
    yield store
    store.close()


def by_hand(path: Path, *commands: str) -> None:
    """Change the file as somebody who has it and knows SQL."""
    connection = sqlite3.connect(path)
    for command in commands:
        connection.execute(command)
    connection.commit()
    connection.close()


UNLOCK = ("DROP TRIGGER audit_stays", "DROP TRIGGER audit_stays_as_it_is")


def test_the_hash_is_what_the_documents_say(store: Store) -> None:
    before = START
    for line in AuditTrail(store).oldest_first(AuditFilter(), 10):
        content = [before, *dataclasses.astuple(line.entry)]
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        assert line.hash == hashlib.sha256(text.encode()).hexdigest()
        before = line.hash
    assert AuditTrail(store).verify() == verify_audit(store._database._path)
    check = AuditTrail(store).verify()
    assert (check.lines, check.head, check.broken) == (4, before, None)


@pytest.mark.parametrize(
    "command",
    [
        "UPDATE audit SET actor = 'nobody' WHERE id = 2",
        "UPDATE audit SET hash = '' WHERE id = 2",
        "DELETE FROM audit WHERE id = 4",
        "DELETE FROM audit",
        "INSERT INTO audit (at, actor, action, subject) VALUES (1, 'a', 'b', 'c')",
        "REPLACE INTO audit (id, at, actor, action, subject) VALUES (2, 1, 'a', 'b', 'c')",
    ],
)
def test_the_database_itself_only_lets_lines_be_added(
    store: Store, path: Path, command: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="audit"):
        by_hand(path, command)
    assert AuditTrail(store).verify().broken is None


@pytest.mark.parametrize(
    ("commands", "broken"),
    [
        (["UPDATE audit SET actor = 'nobody' WHERE id = 2"], 2),
        (["UPDATE audit SET at = 201 WHERE id = 2"], 2),
        (["UPDATE audit SET hash = replace(hash, 'a', 'b') WHERE id = 4"], 4),
        (["DELETE FROM audit WHERE id = 1"], 2),
        (["DELETE FROM audit WHERE id = 3"], 4),
        (["DELETE FROM audit WHERE id = 4"], 4),
        (["DELETE FROM audit"], 4),
        (["UPDATE audit SET id = 9 WHERE id = 2"], 3),
    ],
)
def test_what_was_changed_by_force_is_found(
    store: Store, path: Path, commands: list[str], broken: int
) -> None:
    by_hand(path, *UNLOCK, *commands)
    assert AuditTrail(store).verify().broken == broken
    found = verify_audit(path)
    assert found is not None
    assert found.broken == broken


def test_lines_of_an_older_database_are_chained(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for script in sorted(MIGRATIONS.glob("[0-9]*.sql")):
        if int(script.name[:4]) < 18:
            for statement in statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
    connection.execute("PRAGMA user_version = 17")
    for entry in ENTRIES:
        connection.execute(
            "INSERT INTO audit (at, actor, action, subject, detail, address) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            dataclasses.astuple(entry),
        )
    connection.row_factory = sqlite3.Row
    migrate(connection)
    connection.close()
    assert 18 in database_module.AFTERWARDS
    store = Store(path, 1)
    store.write(lambda t: t.audit.add(ENTRIES[0]))
    check = AuditTrail(store).verify()
    assert (check.lines, check.broken) == (5, None)
    with pytest.raises(sqlite3.IntegrityError):
        by_hand(path, "UPDATE audit SET actor = 'nobody' WHERE id = 1")
    store.close()


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (AuditFilter(), [4, 3, 2, 1]),
        (AuditFilter(actor="admin"), [2, 1]),
        (AuditFilter(action="login"), [1]),
        (AuditFilter(subject="小明"), [4, 3, 2]),
        (AuditFilter(since=200.0), [4, 3, 2]),
        (AuditFilter(until=200.0), [1]),
        (AuditFilter(since=150, until=350, actor="小明"), [3]),
        (AuditFilter(before=3), [2, 1]),
        (AuditFilter(actor="' OR 1=1 --"), []),
    ],
)
def test_what_is_asked_for_is_given(store: Store, wanted: AuditFilter, ids: list[int]) -> None:
    trail = AuditTrail(store)
    assert [line.id for line in trail.page(wanted, 10)] == ids
    assert [line.id for line in trail.page(wanted, 1)] == ids[:1]
    assert trail.actions() == ["instance_start", "login", "login_failed", "user_created"]


def test_operators_read_beside_a_manager_at_work(store: Store, path: Path) -> None:
    found = peek_audit(path, 2)
    assert found is not None
    assert [line.id for line in found] == [3, 4]
    assert verify_audit(path.with_name("none.db")) is None


def test_the_command_says_whether_all_is_whole(
    store: Store, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = settings.load({"DATABASE_PATH": str(path), "CARD_KIND": "cpu"}, root=path.parent)
    assert cli_audit.run(of, Namespace(lines=False)) == 0
    assert f"whole: 4 lines, the last one's hash is {AuditTrail(store).verify().head}" in (
        capsys.readouterr().out
    )
    assert cli_audit.run(of, Namespace(lines=True)) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["subject"] for line in printed] == [entry.subject for entry in ENTRIES]
    by_hand(path, *UNLOCK, "UPDATE audit SET actor = 'nobody' WHERE id = 2")
    assert cli_audit.run(of, Namespace(lines=False)) == 1
    assert "line 2 does not fit" in capsys.readouterr().out
    elsewhere = settings.load(
        {"DATABASE_PATH": str(path.with_name("no.db")), "CARD_KIND": "cpu"}, root=path.parent
    )
    assert cli_audit.run(elsewhere, Namespace(lines=False)) == 1
    assert cli_audit.run(elsewhere, Namespace(lines=True)) == 1
