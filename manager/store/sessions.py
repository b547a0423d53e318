"""The ``sessions`` table: logins, known by the SHA-256 of the id in the browser's cookie.

The id is 256 random bits, so a plain fast hash is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection

from manager.records import OwnSession, Session, User
from manager.store.users import OF_JOINED, user_of

HANDLE_LENGTH = 16
AT_ONCE = 500
"""Values in one statement; older SQLite takes 999."""

_OF_LOGIN = OF_JOINED.replace(
    "must_change_password,",
    "must_change_password AND NOT by_provider AS must_change_password, by_provider,",
)
"""Who came by a provider has used no password, so that none has to be changed."""


def hash_of(session_id: str) -> str:
    """Give what the table stores for a cookie's id."""
    return hashlib.sha256(session_id.encode("utf-8", "replace")).hexdigest()


class Sessions:
    """Logins in force."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(
        self,
        session_id: str,
        user_id: int,
        at: float,
        expires_at: float,
        address: str,
        *,
        by_provider: bool = False,
    ) -> None:
        """Remember a login, and whether it came by a provider's word instead of a password."""
        self._connection.execute(
            "INSERT INTO sessions (id_hash, user_id, created_at, expires_at, address, by_provider) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (hash_of(session_id), user_id, at, expires_at, address, by_provider),
        )

    def find(self, session_id: str, now: float, used_since: float = 0.0) -> Session | None:
        """Give a login in force, of an account that is not disabled.

        In force is what has not expired by ``now`` and was used after ``used_since``.
        """
        row = self._connection.execute(
            f"SELECT {_OF_LOGIN}, "  # noqa: S608 - our own words only
            "s.created_at AS session_created_at, expires_at "
            "FROM sessions s JOIN users u ON u.id = s.user_id "
            "WHERE id_hash = ? AND expires_at > ? AND coalesce(seen_at, s.created_at) > ? "
            "AND is_active",
            (hash_of(session_id), now, used_since),
        ).fetchone()
        if row is None:
            return None
        return Session(user_of(row), row["session_created_at"], row["expires_at"])

    def owners(
        self, session_ids: Collection[str], now: float, used_since: float = 0.0
    ) -> dict[str, User]:
        """Give whose logins these are, of those that ``find`` would give."""
        by_hash = {hash_of(one): one for one in session_ids}
        found: dict[str, User] = {}
        hashes = list(by_hash)
        for begin in range(0, len(hashes), AT_ONCE):
            some = hashes[begin : begin + AT_ONCE]
            marks = ", ".join("?" * len(some))
            rows = self._connection.execute(
                f"SELECT id_hash, {_OF_LOGIN} "  # noqa: S608 - our own words only
                "FROM sessions s JOIN users u ON u.id = s.user_id "
                f"WHERE id_hash IN ({marks}) AND expires_at > ? "
                "AND coalesce(seen_at, s.created_at) > ? AND is_active",
                (*some, now, used_since),
            )
            found |= {by_hash[row["id_hash"]]: user_of(row) for row in rows}
        return found

    def note_visit(self, session_id: str, at: float, user_agent: str) -> None:
        """Remember when a login was last used, and by which browser."""
        self._connection.execute(
            "UPDATE sessions SET seen_at = ?, user_agent = ? WHERE id_hash = ?",
            (at, user_agent, hash_of(session_id)),
        )

    def of_user(
        self, user_id: int, session_id: str, now: float, used_since: float = 0.0
    ) -> list[OwnSession]:
        """List a user's logins in force, see ``find``; ``session_id`` is the one that asks."""
        rows = self._connection.execute(
            "SELECT substr(id_hash, 1, ?) AS handle, created_at, seen_at, address, user_agent, "
            "id_hash = ? AS is_this, by_provider FROM sessions "
            "WHERE user_id = ? AND expires_at > ? AND coalesce(seen_at, created_at) > ?",
            (HANDLE_LENGTH, hash_of(session_id), user_id, now, used_since),
        )
        return [
            OwnSession(
                **{
                    **dict(row),
                    "is_this": bool(row["is_this"]),
                    "by_provider": bool(row["by_provider"]),
                }
            )
            for row in rows
        ]

    def renew(self, session_id: str, new_id: str) -> bool:
        """Give a login another id, and leave all else as it is; tell whether it was there."""
        done = self._connection.execute(
            "UPDATE sessions SET id_hash = ? WHERE id_hash = ?",
            (hash_of(new_id), hash_of(session_id)),
        )
        return done.rowcount > 0

    def remove_by_handle(self, user_id: int, handle: str) -> bool:
        """Forget one of a user's logins; tell whether it was there."""
        done = self._connection.execute(
            "DELETE FROM sessions WHERE user_id = ? AND substr(id_hash, 1, ?) = ?",
            (user_id, HANDLE_LENGTH, handle),
        )
        return done.rowcount > 0

    def remove(self, session_id: str) -> None:
        """Forget a login."""
        self._connection.execute("DELETE FROM sessions WHERE id_hash = ?", (hash_of(session_id),))

    def remove_of(self, user_id: int, keep: str | None = None) -> None:
        """Forget all of a user's logins, but the one whose id is ``keep``."""
        self._connection.execute(
            "DELETE FROM sessions WHERE user_id = ? AND id_hash IS NOT ?",
            (user_id, hash_of(keep) if keep else None),
        )

    def remove_expired(self, now: float, used_since: float = 0.0) -> None:
        """Forget what is not in force any more, see ``find``."""
        self._connection.execute(
            "DELETE FROM sessions WHERE expires_at <= ? OR coalesce(seen_at, created_at) <= ?",
            (now, used_since),
        )
