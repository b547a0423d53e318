"""The ``api_tokens`` table. A token is known by a hash that ``manager.api_tokens`` makes."""

from __future__ import annotations

import sqlite3

from manager.store.users import OF_JOINED, user_of
from manager.token_records import ApiToken, Bearer

_COLUMNS = (
    "t.id AS token_id, t.user_id, username, prefix, name, scope, t.created_at AS made_at, "
    "expires_at, used_at, used_from"
)


def _token_of(row: sqlite3.Row) -> ApiToken:
    return ApiToken(
        id=row["token_id"],
        user_id=row["user_id"],
        username=row["username"],
        prefix=row["prefix"],
        name=row["name"],
        scope=row["scope"],
        created_at=row["made_at"],
        expires_at=row["expires_at"],
        used_at=row["used_at"],
        used_from=row["used_from"],
    )


class ApiTokenTable:
    """Tokens of accounts."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(
        self,
        user_id: int,
        token_hash: str,
        prefix: str,
        name: str,
        scope: str,
        created_at: float,
        expires_at: float,
    ) -> int:
        """Remember a token and give its id."""
        cursor = self._connection.execute(
            "INSERT INTO api_tokens (user_id, token_hash, prefix, name, scope, created_at, "
            "expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (user_id, token_hash, prefix, name, scope, created_at, expires_at),
        )
        return int(cursor.lastrowid or 0)

    def find(self, token_hash: str) -> Bearer | None:
        """Give a token, also an expired one, of an account that is not disabled."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS}, {OF_JOINED} "  # noqa: S608 - our own words only
            "FROM api_tokens t JOIN users u ON u.id = t.user_id WHERE token_hash = ? AND is_active",
            (token_hash,),
        ).fetchone()
        return None if row is None else Bearer(user_of(row), _token_of(row))

    def get(self, token_id: int) -> ApiToken | None:
        """Find a token by its id."""
        found = self._list("t.id = ?", token_id)
        return found[0] if found else None

    def of_user(self, user_id: int) -> list[ApiToken]:
        """List a user's tokens, the newest first."""
        return self._list("t.user_id = ?", user_id)

    def all(self) -> list[ApiToken]:
        """List everybody's tokens, the newest first."""
        return self._list("1")

    def note_use(self, token_id: int, at: float, address: str) -> None:
        """Remember when a token was last used, and from where."""
        self._connection.execute(
            "UPDATE api_tokens SET used_at = ?, used_from = ? WHERE id = ?", (at, address, token_id)
        )

    def remove(self, token_id: int) -> None:
        """Forget a token."""
        self._connection.execute("DELETE FROM api_tokens WHERE id = ?", (token_id,))

    def remove_of(self, user_id: int, scope: str | None = None) -> int:
        """Forget a user's tokens, or those of one scope; give how many there were."""
        done = self._connection.execute(
            "DELETE FROM api_tokens WHERE user_id = ? AND (? IS NULL OR scope = ?)",
            (user_id, scope, scope),
        )
        return done.rowcount

    def remove_expired(self, user_id: int, before: float) -> None:
        """Forget a user's tokens that expired before some time."""
        self._connection.execute(
            "DELETE FROM api_tokens WHERE user_id = ? AND expires_at < ?", (user_id, before)
        )

    def _list(self, where: str, *values: object) -> list[ApiToken]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM api_tokens t JOIN users u ON u.id = t.user_id "  # noqa: S608
            f"WHERE {where} ORDER BY t.id DESC",
            values,
        )
        return [_token_of(row) for row in rows]
