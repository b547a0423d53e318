"""The ``audit`` table: who did what, when, from where. Lines are added and never changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from manager.audit_records import AuditCheck, AuditFilter, AuditLine
from manager.records import AuditEntry
from manager.store.audit_chain import START, link

_FIELDS = "id, at, actor, action, subject, detail, address, hash"


class Audit:
    """The audit."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(self, entry: AuditEntry) -> None:
        """Add a line, chained to the last one. It must not hold a password, token or session id."""
        last = self._connection.execute("SELECT hash FROM audit ORDER BY id DESC LIMIT 1")
        found = last.fetchone()
        self._connection.execute(
            "INSERT INTO audit (at, actor, action, subject, detail, address, hash) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                # As SQLite keeps it, so that the hash is over what will be read.
                float(entry.at),
                entry.actor,
                entry.action,
                entry.subject,
                entry.detail,
                entry.address,
                link(found["hash"] if found else START, _kept(entry)),
            ),
        )

    def latest(self, count: int) -> list[AuditEntry]:
        """Give the newest lines, newest first."""
        return [line.entry for line in self.page(AuditFilter(), count)]

    def page(self, wanted: AuditFilter, count: int) -> list[AuditLine]:
        """Give the newest lines that fit, newest first."""
        where, values = _where(wanted)
        rows = self._connection.execute(
            f"SELECT {_FIELDS} FROM audit WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, count),
        )
        return [_line(row) for row in rows]

    def newest_moment(self) -> float | None:
        """Give the latest time that stands in it, in UTC epoch seconds."""
        at = self._connection.execute("SELECT max(at) FROM audit").fetchone()[0]
        return None if at is None else float(at)

    def logged_in_from(self, actor: str, address: str) -> bool:
        """Tell whether somebody has ever logged in from an address."""
        found = self._connection.execute(
            "SELECT 1 FROM audit WHERE action = 'login' AND actor = ? AND address = ? LIMIT 1",
            (actor, address),
        )
        return found.fetchone() is not None

    def actions(self) -> list[str]:
        """List the kinds of lines there are."""
        rows = self._connection.execute("SELECT DISTINCT action FROM audit ORDER BY action")
        return [row["action"] for row in rows]

    def verify(self) -> AuditCheck:
        """Go over all lines and find the first that does not hang on the one before."""
        lines, before, last_id = 0, START, 0
        for line in self._all():
            lines += 1
            last_id = line.id
            if line.hash != link(before, line.entry):
                return AuditCheck(lines, line.hash, line.id)
            before = line.hash
        given = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'")
        row = given.fetchone()
        # Lines that were cut off at the end break no chain, but the next number tells of them.
        missing = row["seq"] if row and row["seq"] > last_id else None
        return AuditCheck(lines, before, missing)

    def _all(self) -> Iterator[AuditLine]:
        rows = self._connection.execute(f"SELECT {_FIELDS} FROM audit ORDER BY id")  # noqa: S608
        return (_line(row) for row in rows)


def _kept(entry: AuditEntry) -> AuditEntry:
    at = float(entry.at)
    return AuditEntry(at, entry.actor, entry.action, entry.subject, entry.detail, entry.address)


def _line(row: sqlite3.Row) -> AuditLine:
    number, *fields, digest = tuple(row)
    return AuditLine(number, AuditEntry(*fields), digest)


def _where(wanted: AuditFilter) -> tuple[str, list[object]]:
    parts: list[tuple[str, object]] = []
    for column in ("actor", "action", "subject"):
        value = getattr(wanted, column)
        if value:
            parts.append((f"{column} = ?", value))
    if wanted.since is not None:
        parts.append(("at >= ?", wanted.since))
    if wanted.until is not None:
        parts.append(("at < ?", wanted.until))
    if wanted.before is not None:
        parts.append(("id < ?", wanted.before))
    return " AND ".join(text for text, _ in parts) or "1", [value for _, value in parts]
