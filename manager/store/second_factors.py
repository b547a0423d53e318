"""The tables ``second_factors`` and ``recovery_codes``; what is in them ``second_factor`` makes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from manager.factor_records import SecondFactor


class SecondFactorTable:
    """Second factors of accounts, and their recovery codes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def get(self, user_id: int) -> SecondFactor | None:
        """Give an account's, if it has one."""
        row = self._connection.execute(
            "SELECT user_id, seed, key_mark, since, last_step FROM second_factors "
            "WHERE user_id = ?",
            (user_id,),
        ).fetchone()
        return SecondFactor(**dict(row)) if row else None

    def add(self, factor: SecondFactor) -> None:
        """Remember one for an account that has none."""
        self._connection.execute(
            "INSERT INTO second_factors (user_id, seed, key_mark, since, last_step) "
            "VALUES (?, ?, ?, ?, ?)",
            (factor.user_id, factor.seed, factor.key_mark, factor.since, factor.last_step),
        )

    def note_step(self, user_id: int, step: int) -> None:
        """Remember the time step whose code was taken."""
        self._connection.execute(
            "UPDATE second_factors SET last_step = ? WHERE user_id = ?", (step, user_id)
        )

    def remove(self, user_id: int) -> bool:
        """Forget an account's, with its recovery codes; tell whether there was one."""
        done = self._connection.execute("DELETE FROM second_factors WHERE user_id = ?", (user_id,))
        return done.rowcount > 0

    def put_recovery_codes(self, user_id: int, hashes: Iterable[str]) -> None:
        """Put these in the place of those there are."""
        self._connection.execute("DELETE FROM recovery_codes WHERE user_id = ?", (user_id,))
        self._connection.executemany(
            "INSERT INTO recovery_codes (user_id, code_hash) VALUES (?, ?)",
            [(user_id, one) for one in hashes],
        )

    def take_recovery_code(self, user_id: int, code_hash: str) -> bool:
        """Use one up; tell whether it was there."""
        done = self._connection.execute(
            "DELETE FROM recovery_codes WHERE user_id = ? AND code_hash = ?", (user_id, code_hash)
        )
        return done.rowcount > 0

    def recovery_codes_left(self, user_id: int) -> int:
        """Count those that are not used."""
        row = self._connection.execute(
            "SELECT count(*) FROM recovery_codes WHERE user_id = ?", (user_id,)
        ).fetchone()
        return int(row[0])
