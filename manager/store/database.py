"""One SQLite file: one writer, a bounded pool of readers, migrations.

Several writers would not be faster (SQLite has one write lock) and would sleep in back-off; so all
writes pass one connection, one short ``BEGIN IMMEDIATE`` transaction at a time, off the green
loop. Readers are small and indexed and run where they are asked.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from manager import runtime
from manager.errors import ManagerError, StoreFailed
from manager.store.audit_chain import chain_all
from manager.store.keeping import BUSY_TIMEOUT_MS, FILE_MODE, keep_before_migration

T = TypeVar("T")

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
AFTERWARDS: Mapping[int, Callable[[sqlite3.Connection], None]] = {18: chain_all}
"""What a step has to do that SQL cannot, in the same transaction."""


class Database:
    """The file and its connections."""

    def __init__(self, path: Path, pool_size: int) -> None:
        """Open or make the file, bring its schema up to date, fill the pool.

        Raises:
            StoreFailed: the folder or file cannot be used, or a newer version made the file.
        """
        self._path = path
        self._pool_size = pool_size
        self._closed = False
        self._lock = threading.Lock()
        self._readers: queue.Queue[sqlite3.Connection] = queue.Queue()
        try:
            self._make_private_file()
            self._writer = self._connect()
            keep_before_migration(self._writer, path, latest_version())
            migrate(self._writer)
            for _ in range(pool_size):
                reader = self._connect()
                reader.execute("PRAGMA query_only = ON")
                self._readers.put(reader)
            self._data_version = self._seen()
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` in one transaction; an exception rolls it back and passes on.

        ``work`` runs in a real thread: SQL and plain computing only, no logging, no publishing.

        Raises:
            StoreFailed: SQLite refused; nothing was written.
        """
        with self._lock:
            if self._closed:
                raise StoreFailed("the database is closed")
            result: T = runtime.offload(self._transact, work)
            return result

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on a reading connection; waits while all are in use.

        Raises:
            StoreFailed: SQLite refused.
        """
        reader = self._readers.get()
        try:
            if self._closed:
                raise StoreFailed("the database is closed")
            return work(reader)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        finally:
            self._readers.put(reader)

    def read_long(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Like ``read``, but off the green loop: for sums over years, not for single rows.

        Raises:
            StoreFailed: SQLite refused.
        """
        result: T = self.read(lambda connection: runtime.offload(work, connection))
        return result

    def changed_outside(self) -> bool:
        """Tell whether another program has written since this was asked last.

        Raises:
            StoreFailed: SQLite refused.
        """
        with self._lock:
            if self._closed:
                return False
            before, self._data_version = self._data_version, self._seen()
        return before != self._data_version

    def _seen(self) -> int:
        # Other connections' writes alone change it, and every write of ours is of this one.
        try:
            return int(self._writer.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close every connection; folds the write-ahead log into the file.

        Waits for what is under way: SQLite does not survive a connection closed under a query.
        Who comes later is refused.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            readers = [self._readers.get() for _ in range(self._pool_size)]
            for connection in (*readers, self._writer):
                connection.close()
            for reader in readers:
                self._readers.put(reader)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            with transaction(self._writer):
                return work(self._writer)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _make_private_file(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Made before SQLite would, so that it never stands readable for others for a moment.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        self._path.chmod(FILE_MODE)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT_MS / 1000,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    def _failed(self, error: Exception) -> ManagerError:
        return StoreFailed(
            f"database {self._path}: {error}; check that its folder is writable by this account "
            "and that the disk is not full"
        )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of the block or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # On some errors, such as a full disk, SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def latest_version() -> int:
    """Give the schema version this program writes."""
    return int(_scripts()[-1].name[:4])


def _scripts() -> list[Path]:
    return sorted(MIGRATIONS.glob("[0-9]*.sql"))


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file of any older schema to the newest, each step in a transaction of its own.

    The version is read again inside each transaction: of two programs that open the same old file
    at once, the second finds the step done.

    Raises:
        StoreFailed: a newer program made the file.
    """
    if _version(connection) > latest_version():
        raise StoreFailed(
            f"the database has schema {_version(connection)}, this program knows "
            f"{latest_version()}; start the newer program, or restore a backup made before it"
        )
    # Tables are rebuilt under foreign keys pointing at them: SQLite wants the check off meanwhile,
    # and the pragma is ignored inside a transaction.
    connection.execute("PRAGMA foreign_keys = OFF")
    for script in _scripts():
        _step(connection, int(script.name[:4]), script.read_text(encoding="utf-8"))
    connection.execute("PRAGMA foreign_keys = ON")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _step(connection: sqlite3.Connection, number: int, script: str) -> None:
    if _version(connection) >= number:
        return
    with transaction(connection):
        if _version(connection) < number:
            # One by one: ``executescript`` would commit the transaction first.
            for statement in statements(script):
                connection.execute(statement)
            if number in AFTERWARDS:
                AFTERWARDS[number](connection)
            connection.execute(f"PRAGMA user_version = {number}")


def statements(script: str) -> Iterator[str]:
    """Cut a script into its statements."""
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


def version_of(path: Path) -> int | None:
    """Give the schema version of a file, changing nothing; None where there is no database."""
    try:
        uri = f"{path.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_MS / 1000)
    except sqlite3.Error:
        return None
    try:
        return _version(connection)
    except sqlite3.Error:
        return None
    finally:
        connection.close()


def open_for_reading(path: Path) -> sqlite3.Connection | None:
    """Open a file beside a manager that may be at work on it: nothing is made or changed.

    Returns:
        None when there is no file of this program's schema (yet).
    """
    try:
        connection = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_MS / 1000
        )
    except sqlite3.Error:
        return None
    connection.row_factory = sqlite3.Row
    try:
        if _version(connection) == latest_version():
            return connection
    except sqlite3.Error:
        pass
    connection.close()
    return None
