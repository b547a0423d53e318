"""The store on real files: migrations, modes, transactions, and rules the database keeps itself."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from manager.errors import LostRace, StoreFailed
from manager.states import State
from manager.store import Store, peek_ports
from manager.store.database import MIGRATIONS, latest_version, migrate

CLIENT_SCHEMA = (MIGRATIONS / "0001_client.sql").read_text(encoding="utf-8")
HOLD = {"current_user_id": 1, "current_username": "a", "launch_id": "one"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manager.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store(path, 2)
    opened.write(lambda t: t.ports.ensure([8001, 8002]))
    for name in ("ann", "bob"):
        _add(opened, name)
    yield opened
    opened.close()


def _add(store: Store, name: str) -> int:
    return store.write(
        lambda t: t.users.insert(
            name, "hash", is_admin=False, assigned_port=None, must_change_password=False
        )
    )


def _client_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(CLIENT_SCHEMA)
    connection.execute(
        "INSERT INTO users (username, password_hash, is_admin) VALUES ('admin', 'h', 1)"
    )
    connection.execute(
        "INSERT INTO users (username, password_hash, assigned_port) VALUES ('li', 'h2', 8002)"
    )
    connection.execute(
        "INSERT INTO port_status (port, current_user_id, current_username, process_id, status, "
        "idle_count) VALUES (8002, 2, 'li', 4242, 'running', 17)"
    )
    connection.commit()
    connection.close()


def test_a_database_of_the_clients_bare_schema_migrates_in_place(path: Path) -> None:
    _client_database(path)
    store = Store(path, 1)
    users = store.read(lambda t: t.users.all())
    assert [(u.id, u.username, u.is_admin, u.assigned_port, u.is_active) for u in users] == [
        (1, "admin", True, None, True),
        (2, "li", False, 8002, True),
    ]
    assert all(u.created_at > 0 for u in users)
    # Its process is none of ours: nobody can say that 4242 is still the ComfyUI it was.
    (row,) = store.read(lambda t: t.ports.all())
    assert (row.port, row.state, row.user_id, row.process_id) == (8002, State.IDLE, None, None)
    store.close()


def test_the_clients_columns_are_all_there(store: Store, path: Path) -> None:
    connection = sqlite3.connect(path)
    expected = sqlite3.connect(":memory:")
    expected.executescript(CLIENT_SCHEMA)
    for table in ("users", "port_status"):
        wanted = {row[1] for row in expected.execute(f"PRAGMA table_info({table})")}
        found = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        assert wanted <= found
    connection.close()
    expected.close()


def test_opening_twice_changes_nothing(path: Path) -> None:
    Store(path, 1).close()
    before = sqlite3.connect(path).execute("SELECT sql FROM sqlite_master").fetchall()
    Store(path, 1).close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == before
    assert connection.execute("PRAGMA user_version").fetchone()[0] == latest_version()
    connection.close()


def test_programs_that_open_a_new_file_at_once_agree(tmp_path: Path) -> None:
    """Lost once: the second one set the version back and broke the file for everybody after."""
    for round_number in range(20):
        path = tmp_path / f"{round_number}.db"
        barrier = threading.Barrier(4)

        def open_it(path: Path = path, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            connection = sqlite3.connect(path, isolation_level=None, timeout=20)
            try:
                migrate(connection)
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(open_it) for _ in range(4)]:
                done.result()
        Store(path, 1).close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _client_database(path)
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    with (folder / "0002_first_storey.sql").open("a") as script:
        script.write("INSERT INTO no_such_table VALUES (1);\n")
    with monkeypatch.context() as patched:
        patched.setattr("manager.store.database.MIGRATIONS", folder)
        with pytest.raises(StoreFailed, match="no_such_table"):
            Store(path, 1)
    store = Store(path, 1)
    assert [u.username for u in store.read(lambda t: t.users.all())] == ["admin", "li"]
    store.close()


def test_peeking_makes_and_changes_nothing(path: Path) -> None:
    assert peek_ports(path) == []
    assert not path.exists()
    _client_database(path)
    before = path.read_bytes()
    assert peek_ports(path) == []
    assert path.read_bytes() == before
    store = Store(path, 1)
    assert [row.port for row in peek_ports(path)] == [8002]
    store.close()
    path.write_text("no database")
    assert peek_ports(path) == []


def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    Store(path, 1).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {latest_version() + 1}")
    connection.close()
    with pytest.raises(StoreFailed, match="newer program"):
        Store(path, 1)


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("this is not a database, whatever its name says" * 100)
    with pytest.raises(StoreFailed, match="not a database"):
        Store(path, 1)


def test_nobody_else_may_read_the_files(store: Store, path: Path) -> None:
    files = list(path.parent.glob("manager.db*"))
    assert len(files) == 3
    assert {stat.S_IMODE(f.stat().st_mode) for f in files} == {0o600}


def test_a_readable_database_is_closed_to_others(path: Path) -> None:
    _client_database(path)
    path.chmod(0o644)
    Store(path, 1).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_failed_transaction_writes_nothing(store: Store) -> None:
    def work(t: object) -> None:
        t.users.insert(  # type: ignore[attr-defined]
            "carl", "h", is_admin=False, assigned_port=None, must_change_password=False
        )
        raise LostRace("no")

    with pytest.raises(LostRace):
        store.write(work)
    assert store.read(lambda t: t.users.count()) == 2


def test_readers_cannot_write(store: Store) -> None:
    with pytest.raises(StoreFailed, match="readonly"):
        store.read(lambda t: t.users.delete(1))


def test_a_move_from_another_state_is_lost(store: Store) -> None:
    store.write(lambda t: t.ports.move(8001, before=State.IDLE, after=State.STARTING, values=HOLD))
    with pytest.raises(LostRace):
        store.write(
            lambda t: t.ports.move(8001, before=State.IDLE, after=State.STARTING, values=HOLD)
        )


def test_of_two_starts_at_once_one_gets_the_port(store: Store) -> None:
    barrier = threading.Barrier(2)
    outcomes: list[str] = []

    def start(user_id: int) -> None:
        values = {"current_user_id": user_id, "current_username": "x", "launch_id": f"l{user_id}"}
        barrier.wait()
        try:
            store.write(
                lambda t: t.ports.move(8001, before=State.IDLE, after=State.STARTING, values=values)
            )
            outcomes.append("won")
        except LostRace:
            outcomes.append("lost")

    threads = [threading.Thread(target=start, args=(n,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost", "won"]


def test_the_database_itself_refuses_two_ports_for_one_user(store: Store) -> None:
    store.write(lambda t: t.ports.move(8001, before=State.IDLE, after=State.STARTING, values=HOLD))
    with pytest.raises(StoreFailed, match="UNIQUE"):
        store.write(
            lambda t: t.ports.move(
                8002,
                before=State.IDLE,
                after=State.STARTING,
                values={**HOLD, "launch_id": "two"},
            )
        )


def test_the_database_itself_refuses_a_running_port_without_token(store: Store) -> None:
    with pytest.raises(StoreFailed, match="CHECK"):
        store.write(
            lambda t: t.ports.move(8001, before=State.IDLE, after=State.RUNNING, values=HOLD)
        )


def test_a_late_note_does_not_touch_the_next_launch(store: Store) -> None:
    store.write(lambda t: t.ports.move(8001, before=State.IDLE, after=State.STARTING, values=HOLD))
    with pytest.raises(LostRace):
        store.write(lambda t: t.ports.note(8001, "zero", State.STARTING, {"process_id": 1}))


def test_the_id_of_a_deleted_user_never_comes_again(store: Store) -> None:
    last = _add(store, "carl")
    store.write(lambda t: t.users.delete(last))
    assert _add(store, "dora") == last + 1


def test_a_workspace_name_is_given_once(store: Store) -> None:
    store.write(lambda t: t.users.set_workspace(1, "1-ann-x"))
    store.write(lambda t: t.users.set_workspace(1, "1-ann-y"))
    user = store.read(lambda t: t.users.get(1))
    assert user is not None
    assert user.workspace == "1-ann-x"


def test_the_session_id_is_not_in_the_file(store: Store, path: Path) -> None:
    store.write(lambda t: t.sessions.add("secret-session-id", 1, 1.0, 10.0, "::1"))
    assert store.read(lambda t: t.sessions.find("secret-session-id", 5.0)) is not None
    assert store.read(lambda t: t.sessions.find("secret-session-id", 10.0)) is None
    content = b"".join(f.read_bytes() for f in path.parent.glob("manager.db*"))
    assert b"secret-session-id" not in content


def test_an_unwritable_folder_says_what_to_do(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(StoreFailed, match="check that its folder is writable"):
        Store(blocked / "manager.db", 1)


def test_closing_waits_for_queries_and_refuses_what_comes_later(path: Path) -> None:
    store = Store(path, 2)
    begun, go_on = threading.Event(), threading.Event()

    def slow(t: object) -> int:
        begun.set()
        go_on.wait(10)
        return t.users.count()  # type: ignore[attr-defined, no-any-return]

    counts: list[int] = []
    reading = threading.Thread(target=lambda: counts.append(store.read(slow)))
    reading.start()
    begun.wait(10)
    closing = threading.Thread(target=store.close)
    closing.start()
    go_on.set()
    reading.join(10)
    closing.join(10)
    assert counts == [0]
    for ask in (lambda: store.read(lambda t: t.users.count()), lambda: store.write(lambda t: None)):
        with pytest.raises(StoreFailed, match="closed"):
            ask()
    store.close()
