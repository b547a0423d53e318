"""The tables ``sign_in_links`` and ``sign_in_permits``: who of a provider is whose account."""

from __future__ import annotations

import sqlite3

from manager.sign_in_records import Tie


class SignInTable:
    """Ties of accounts to people of a provider, and permits for new ones."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def owner(self, issuer: str, subject: str) -> int | None:
        """Give the id of the account that a person is tied to."""
        row = self._connection.execute(
            "SELECT user_id FROM sign_in_links WHERE issuer = ? AND subject = ?", (issuer, subject)
        ).fetchone()
        return int(row[0]) if row else None

    def tie(self, issuer: str, subject: str, user_id: int, at: float) -> None:
        """Tie an account to a person; its permit is used up by that."""
        self._connection.execute(
            "INSERT INTO sign_in_links (issuer, subject, user_id, linked_at) VALUES (?, ?, ?, ?)",
            (issuer, subject, user_id, at),
        )
        self.forbid(user_id)

    def untie(self, issuer: str, user_id: int) -> bool:
        """Forget whom an account is tied to; tell whether it was."""
        done = self._connection.execute(
            "DELETE FROM sign_in_links WHERE issuer = ? AND user_id = ?", (issuer, user_id)
        )
        return done.rowcount > 0

    def allow(self, user_id: int, at: float) -> None:
        """Let an account be tied by its name."""
        self._connection.execute(
            "INSERT OR REPLACE INTO sign_in_permits (user_id, allowed_at) VALUES (?, ?)",
            (user_id, at),
        )

    def forbid(self, user_id: int) -> bool:
        """Take the permit back; tell whether there was one."""
        done = self._connection.execute("DELETE FROM sign_in_permits WHERE user_id = ?", (user_id,))
        return done.rowcount > 0

    def of(self, issuer: str, user_id: int) -> Tie:
        """Say how an account stands to a provider."""
        return self._ties(issuer, "u.id = ?", user_id).get(user_id, Tie(user_id, None, None, None))

    def all(self, issuer: str) -> dict[int, Tie]:
        """Say it of every account, by id."""
        return self._ties(issuer, "1")

    def _ties(self, issuer: str, where: str, *values: object) -> dict[int, Tie]:
        rows = self._connection.execute(
            "SELECT u.id AS user_id, subject, linked_at, allowed_at FROM users u "  # noqa: S608
            "LEFT JOIN sign_in_links l ON l.user_id = u.id AND issuer = ? "
            f"LEFT JOIN sign_in_permits p ON p.user_id = u.id WHERE {where}",
            (issuer, *values),
        )
        return {row["user_id"]: Tie(**dict(row)) for row in rows}
