"""The store: SQLite and nothing else.

``Store.write(work)`` hands ``work`` the tables inside one transaction; ``Store.read(work)`` hands
them over for looking. What comes back are the frozen records of ``records``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from manager.audit_records import AuditCheck, AuditFilter, AuditLine
from manager.notices import Maintenance
from manager.records import Instance
from manager.store.announcements import AnnouncementTable
from manager.store.api_tokens import ApiTokenTable
from manager.store.audit import Audit
from manager.store.card_history import CardHistoryTable
from manager.store.database import Database, latest_version, open_for_reading, version_of
from manager.store.disk_use import DiskUseTable
from manager.store.grants import GrantTable
from manager.store.limits import LimitsTable
from manager.store.line import LineTable
from manager.store.line_history import LineHistoryTable
from manager.store.maintenance import MaintenanceTable
from manager.store.ports import Ports
from manager.store.quarantine import QuarantineTable
from manager.store.reservations import ReservationTable
from manager.store.second_factors import SecondFactorTable
from manager.store.sessions import Sessions
from manager.store.sign_ins import SignInTable
from manager.store.totals import Totals
from manager.store.unfinished import UnfinishedTable
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
        self.totals = Totals(connection)
        self.sessions = Sessions(connection)
        self.sign_ins = SignInTable(connection)
        self.api_tokens = ApiTokenTable(connection)
        self.second_factors = SecondFactorTable(connection)
        self.audit = Audit(connection)
        self.line = LineTable(connection)
        self.grants = GrantTable(connection)
        self.unfinished = UnfinishedTable(connection)
        self.quarantine = QuarantineTable(connection)
        self.limits = LimitsTable(connection)
        self.reservations = ReservationTable(connection)
        self.card_history = CardHistoryTable(connection)
        self.line_history = LineHistoryTable(connection)
        self.disk_use = DiskUseTable(connection)
        self.announcements = AnnouncementTable(connection)
        self.maintenance = MaintenanceTable(connection)

    def end_logins(self, user_id: int, keep: str | None = None) -> str:
        """End what opens an account: its logins but one, its tokens; for the audit, how many."""
        self.sessions.remove_of(user_id, keep=keep)
        tokens = self.api_tokens.remove_of(user_id)
        return f" tokens ended={tokens}" if tokens else ""


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


def schema_fits(path: Path) -> bool:
    """Tell whether this program can write a file without changing its schema."""
    return version_of(path) in (None, latest_version())


def password_hash_in(path: Path, username: str) -> str:
    """Give the stored hash of an account that may log in, else an empty text; changes nothing."""
    connection = open_for_reading(path)
    if connection is None:
        return ""
    try:
        row = connection.execute(
            "SELECT password_hash FROM users WHERE username = ? AND is_active", (username,)
        ).fetchone()
    except sqlite3.Error:
        return ""
    finally:
        connection.close()
    return str(row[0]) if row else ""


def newest_launch(path: Path, username: str) -> str | None:
    """Give the id of a user's newest launch; changes nothing."""
    connection = open_for_reading(path)
    if connection is None:
        return None
    try:
        row = connection.execute(
            "SELECT launch_id FROM usage WHERE username = ? ORDER BY started_at DESC LIMIT 1",
            (username,),
        ).fetchone()
    except sqlite3.Error:
        return None
    finally:
        connection.close()
    return str(row[0]) if row else None


def peek_counts(path: Path) -> dict[str, int]:
    """Count who waits in the line and which ports are held back; changes nothing."""
    connection = open_for_reading(path)
    if connection is None:
        return {}
    questions = {
        "line": "SELECT count(*) FROM line WHERE missed_at IS NULL",
        "quarantine": "SELECT count(*) FROM quarantine",
    }
    try:
        return {name: connection.execute(q).fetchone()[0] for name, q in questions.items()}
    except sqlite3.Error:
        return {}
    finally:
        connection.close()


def peek_maintenance(path: Path) -> Maintenance | None:
    """Say whether a file's house is under maintenance; changes nothing."""
    connection = open_for_reading(path)
    if connection is None:
        return None
    try:
        return MaintenanceTable(connection).get()
    except sqlite3.Error:
        return None
    finally:
        connection.close()


def newest_moment(path: Path) -> float | None:
    """Give the latest time (UTC epoch seconds) that stands in a file's audit; changes nothing."""
    return _peek(path, Audit.newest_moment)


def verify_audit(path: Path) -> AuditCheck | None:
    """Check the audit of a file that a running manager may be using; changes nothing.

    Returns:
        None when there is no readable database of this program's schema.
    """
    return _peek(path, lambda audit: audit.verify())


def peek_audit(path: Path, most: int) -> list[AuditLine] | None:
    """Read the newest lines of the audit, oldest first, as ``verify_audit`` does."""
    return _peek(path, lambda audit: audit.page(AuditFilter(), most)[::-1])


def _peek(path: Path, work: Callable[[Audit], T]) -> T | None:
    connection = open_for_reading(path)
    if connection is None:
        return None
    try:
        return work(Audit(connection))
    except sqlite3.Error:
        return None
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

    def read_long(self, work: Callable[[Tables], T]) -> T:
        """Like ``read``, for what may take longer than a moment; see ``Database.read_long``."""
        return self._database.read_long(lambda connection: work(Tables(connection)))

    def changed_outside(self) -> bool:
        """Tell whether another program has written since this was asked last."""
        return self._database.changed_outside()

    def close(self) -> None:
        """Close the file."""
        self._database.close()
