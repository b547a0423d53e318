"""The ``reservations`` table: ports that an admin keeps for some users, or for nobody."""

from __future__ import annotations

import sqlite3

from manager.permits import Reservation


class ReservationTable:
    """Reserved ports, each at most once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def put(self, entry: Reservation) -> None:
        """Reserve a port, in the place of what it was reserved for before."""
        self.remove(entry.port)
        self._connection.execute(
            "INSERT INTO reservations (port, reserved_by, reserved_at, until, reason) "
            "VALUES (?, ?, ?, ?, ?)",
            (entry.port, entry.reserved_by, entry.reserved_at, entry.until, entry.reason),
        )
        self._connection.executemany(
            "INSERT INTO reservation_users (port, user_id) VALUES (?, ?)",
            [(entry.port, user_id) for user_id in entry.user_ids],
        )

    def remove(self, port: int) -> bool:
        """Put a port back; tell whether it was reserved."""
        cursor = self._connection.execute("DELETE FROM reservations WHERE port = ?", (port,))
        return cursor.rowcount > 0

    def all(self) -> list[Reservation]:
        """List them by port, also those whose time is over."""
        rows = self._connection.execute(
            "SELECT port, reserved_by, reserved_at, until, reason FROM reservations ORDER BY port"
        )
        return [Reservation(**dict(row), user_ids=self._users(row["port"])) for row in rows]

    def _users(self, port: int) -> frozenset[int]:
        rows = self._connection.execute(
            "SELECT user_id FROM reservation_users WHERE port = ?", (port,)
        )
        return frozenset(row["user_id"] for row in rows)
