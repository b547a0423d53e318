"""The ``maintenance`` table: one row while nothing is to be started, none else."""

from __future__ import annotations

import sqlite3

from manager.notices import Maintenance


class MaintenanceTable:
    """Whether the house is under maintenance."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def get(self) -> Maintenance | None:
        """Give what is in force."""
        row = self._connection.execute(
            "SELECT begun_by, begun_at, until, reason FROM maintenance"
        ).fetchone()
        return Maintenance(**dict(row)) if row else None

    def put(self, one: Maintenance) -> None:
        """Begin, or say anew why and until when."""
        self._connection.execute(
            "INSERT OR REPLACE INTO maintenance (id, begun_by, begun_at, until, reason) "
            "VALUES (1, ?, ?, ?, ?)",
            (one.begun_by, one.begun_at, one.until, one.reason),
        )

    def remove(self) -> bool:
        """End it; tell whether there was any."""
        return self._connection.execute("DELETE FROM maintenance").rowcount > 0
