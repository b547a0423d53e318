"""The ``quarantine`` table: ports held back because their card was not proven free."""

from __future__ import annotations

import sqlite3

from manager.records import Address, Quarantined


class QuarantineTable:
    """Ports held back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(self, entry: Quarantined) -> None:
        """Hold a port back; a newer reason takes the place of an older one."""
        self._connection.execute(
            "INSERT OR REPLACE INTO quarantine (port, card, launch_id, since, reason, address) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (
                *(entry.port, entry.card, entry.launch_id, entry.since, entry.reason),
                str(entry.address) if entry.address else None,
            ),
        )

    def remove(self, port: int) -> bool:
        """Give a port free; tell whether it was held back."""
        cursor = self._connection.execute("DELETE FROM quarantine WHERE port = ?", (port,))
        return cursor.rowcount > 0

    def all(self) -> list[Quarantined]:
        """List the ports held back."""
        rows = self._connection.execute(
            "SELECT port, card, launch_id, since, reason, address FROM quarantine ORDER BY port"
        )
        return [
            Quarantined(**{**dict(row), "address": Address.parse(row["address"])}) for row in rows
        ]
