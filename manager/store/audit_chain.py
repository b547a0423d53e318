"""How the lines of the audit hang together: each carries a hash over itself and the one before.

Whoever changes, removes or slips in a line has to make all later hashes anew, and whoever noted one
of them sees it. Pure but for ``chain_all``, which brings an older database's lines into the chain.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3

from manager.records import AuditEntry

START = "0" * 64
"""What stands before the first line."""


def link(before: str, entry: AuditEntry) -> str:
    """Give the hash of a line: SHA-256 over a JSON list, UTF-8, without blanks, hexadecimal."""
    content = [
        before,
        entry.at,
        entry.actor,
        entry.action,
        entry.subject,
        entry.detail,
        entry.address,
    ]
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def chain_all(connection: sqlite3.Connection) -> None:
    """Give every line its hash, inside the migration's transaction."""
    before = START
    rows = connection.execute(
        "SELECT id, at, actor, action, subject, detail, address FROM audit ORDER BY id"
    ).fetchall()
    for number, *fields in rows:
        before = link(before, AuditEntry(*fields))
        connection.execute("UPDATE audit SET hash = ? WHERE id = ?", (before, number))
