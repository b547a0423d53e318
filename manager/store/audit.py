"""The ``audit`` table: who did what, when, from where. Lines are added and never changed."""

from __future__ import annotations

import sqlite3

from manager.records import AuditEntry


class Audit:
    """The audit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(self, entry: AuditEntry) -> None:
        """Add a line. It must not hold a password, token or session id."""
        self._connection.execute(
            "INSERT INTO audit (at, actor, action, subject, detail, address) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (entry.at, entry.actor, entry.action, entry.subject, entry.detail, entry.address),
        )

    def latest(self, count: int) -> list[AuditEntry]:
        """Give the newest lines, newest first."""
        rows = self._connection.execute(
            "SELECT at, actor, action, subject, detail, address FROM audit "
            "ORDER BY id DESC LIMIT ?",
            (count,),
        )
        return [AuditEntry(**dict(row)) for row in rows]
