"""The store: SQLite and nothing else.

``Store.write(work)`` hands ``work`` the tables inside one transaction; ``Store.read(work)`` hands
them over for looking. What comes back are the frozen records of ``records``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from manager.records import Instance
from manager.store.audit import Audit
from manager.store.database import Database, open_for_reading
from manager.store.ports import Ports
from manager.store.quarantine import QuarantineTable
from manager.store.sessions import Sessions
from manager.store.usage import UsageLog
from manager.store.users import Users

T = TypeVar("T")


class Tables:
    """The tables, bound to one connection for the length of one piece of work."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind."""
        self.users = Users(connection)
        self.ports = Ports(connection)
        self.usage = UsageLog(connection)
        self.sessions = Sessions(connection)
        self.audit = Audit(connection)
        self.quarantine = QuarantineTable(connection)


def peek_ports(path: Path) -> list[Instance]:
    """Read the port table of a file that a running manager may be using; changes nothing.

    Returns:
        Nothing when there is no readable database of this program's schema.
    """
    connection = open_for_reading(path)
    if connection is None:
        return []
    try:
        return Ports(connection).all()
    except sqlite3.Error:
        return []
    finally:
        connection.close()


class Store:
    """The database file as the rest of the program sees it."""

    def __init__(self, path: Path, pool_size: int = 4) -> None:
        """Open or make the file.

        Raises:
            StoreFailed: it cannot be used.
        """
        self._database = Database(path, pool_size)

    def write(self, work: Callable[[Tables], T]) -> T:
        """Run ``work`` in one transaction; see ``Database.write``."""
        return self._database.write(lambda connection: work(Tables(connection)))

    def read(self, work: Callable[[Tables], T]) -> T:
        """Run ``work`` on a reading connection; see ``Database.read``."""
        return self._database.read(lambda connection: work(Tables(connection)))

    def close(self) -> None:
        """Close the file."""
        self._database.close()
