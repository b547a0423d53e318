"""The ``users`` table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from manager.records import User

_COLUMNS = (
    "id, username, is_admin, assigned_port, is_active, must_change_password, "
    "CAST(strftime('%s', created_at) AS REAL) AS created_at, workspace, "
    "EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = users.id) AS second_factor"
)
OF_JOINED = (
    "u.id, username, is_admin, assigned_port, is_active, must_change_password, "
    "CAST(strftime('%s', u.created_at) AS REAL) AS created_at, workspace, "
    "EXISTS (SELECT 1 FROM second_factors f WHERE f.user_id = u.id) AS second_factor"
)
"""What ``user_of`` reads, where ``users`` is joined as ``u``."""


def user_of(row: sqlite3.Row) -> User:
    """Make the record of a row selected with the columns above."""
    return User(
        id=row["id"],
        username=row["username"],
        is_admin=bool(row["is_admin"]),
        assigned_port=row["assigned_port"],
        is_active=bool(row["is_active"]),
        must_change_password=bool(row["must_change_password"]),
        created_at=row["created_at"] or 0.0,
        workspace=row["workspace"],
        second_factor=bool(row["second_factor"]),
        by_provider="by_provider" in row.keys() and bool(row["by_provider"]),  # noqa: SIM118
    )


class Users:
    """Accounts. The password hash leaves through ``password_hash`` only."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def get(self, user_id: int) -> User | None:
        """Find an account by id."""
        return self._one("id = ?", user_id)

    def by_name(self, username: str) -> User | None:
        """Find an account by its exact name."""
        return self._one("username = ?", username)

    def all(self) -> list[User]:
        """List the accounts by name."""
        rows = self._connection.execute(f"SELECT {_COLUMNS} FROM users ORDER BY username")  # noqa: S608
        return [user_of(row) for row in rows]

    def password_hash(self, user_id: int) -> str:
        """Give the stored hash, or an empty text that no password matches."""
        row = self._connection.execute(
            "SELECT password_hash FROM users WHERE id = ?", (user_id,)
        ).fetchone()
        return str(row[0]) if row else ""

    def insert(
        self,
        username: str,
        password_hash: str,
        *,
        is_admin: bool,
        assigned_port: int | None,
        must_change_password: bool,
    ) -> int:
        """Add an account and give its id, which no account had before."""
        cursor = self._connection.execute(
            "INSERT INTO users (username, password_hash, is_admin, assigned_port, "
            "must_change_password) VALUES (?, ?, ?, ?, ?)",
            (username, password_hash, is_admin, assigned_port, must_change_password),
        )
        return int(cursor.lastrowid or 0)

    def set_password(self, user_id: int, password_hash: str, *, must_change: bool) -> None:
        """Replace the hash."""
        self._connection.execute(
            "UPDATE users SET password_hash = ?, must_change_password = ? WHERE id = ?",
            (password_hash, must_change, user_id),
        )

    def set_workspace(self, user_id: int, workspace: str) -> None:
        """Remember the name of the account's folder, once and for good."""
        self._connection.execute(
            "UPDATE users SET workspace = ? WHERE id = ? AND workspace IS NULL",
            (workspace, user_id),
        )

    def set_rights(
        self, user_id: int, *, is_admin: bool, is_active: bool, assigned_port: int | None
    ) -> None:
        """Write what an admin may change."""
        self._connection.execute(
            "UPDATE users SET is_admin = ?, is_active = ?, assigned_port = ? WHERE id = ?",
            (is_admin, is_active, assigned_port, user_id),
        )

    def delete(self, user_id: int) -> None:
        """Remove an account; its sessions go with it, its use and audit stay."""
        # A failed row keeps no user; only a held one does, and that one forbids the deletion.
        self._connection.execute("DELETE FROM users WHERE id = ?", (user_id,))

    def last_logins(self) -> dict[int, float]:
        """Give the newest login of each account, by id; of an earlier one of the same name none."""
        rows = self._connection.execute(
            "SELECT id, (SELECT max(at) FROM audit WHERE action = 'login' AND actor = username "
            "AND at >= CAST(strftime('%s', created_at) AS REAL)) AS at FROM users"
        )
        return {row["id"]: row["at"] for row in rows if row["at"] is not None}

    def active_admins(self) -> int:
        """Count the admins who can log in."""
        row = self._connection.execute(
            "SELECT count(*) FROM users WHERE is_admin AND is_active"
        ).fetchone()
        return int(row[0])

    def count(self) -> int:
        """Count the accounts."""
        return int(self._connection.execute("SELECT count(*) FROM users").fetchone()[0])

    def _one(self, where: str, *values: object) -> User | None:
        rows: Iterable[sqlite3.Row] = self._connection.execute(
            f"SELECT {_COLUMNS} FROM users WHERE {where}",  # noqa: S608 - our own words only
            values,
        )
        for row in rows:
            return user_of(row)
        return None
