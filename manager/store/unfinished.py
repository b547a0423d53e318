"""The ``unfinished`` table: prompts that were left when a launch ended, one row a launch."""

from __future__ import annotations

import dataclasses
import sqlite3

from manager.records import Unfinished

_NAMES = ", ".join(one.name for one in dataclasses.fields(Unfinished))


class UnfinishedTable:
    """What is offered to users, is being sent again, or has been."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def add(self, one: Unfinished) -> None:
        """Add what a launch left; a second time changes nothing."""
        marks = ", ".join("?" * len(dataclasses.fields(Unfinished)))
        self._connection.execute(
            f"INSERT OR IGNORE INTO unfinished ({_NAMES}) VALUES ({marks})",  # noqa: S608
            dataclasses.astuple(one),
        )

    def of_user(self, user_id: int) -> list[Unfinished]:
        """List a user's rows, the oldest first."""
        rows = self._connection.execute(
            f"SELECT {_NAMES} FROM unfinished WHERE user_id = ? "  # noqa: S608
            "ORDER BY saved_at, launch_id",
            (user_id,),
        )
        return [Unfinished(**dict(row)) for row in rows]

    def claim(self, user_id: int) -> list[Unfinished]:
        """Take what is offered to a user for sending; nobody else gets it a second time."""
        mine = [one for one in self.of_user(user_id) if one.state == "offered"]
        self._connection.execute(
            "UPDATE unfinished SET state = 'sending' WHERE user_id = ? AND state = 'offered'",
            (user_id,),
        )
        return mine

    def begin(self, launch_id: str, sent: int) -> None:
        """Note that the ``sent``-th prompt is being sent, before it is."""
        self._connection.execute(
            "UPDATE unfinished SET sent = ? WHERE launch_id = ?", (sent, launch_id)
        )

    def answered(self, launch_id: str, *, accepted: bool, refusal: str | None = None) -> None:
        """Note what became of the one sent last; the first refusal's words are kept."""
        self._connection.execute(
            "UPDATE unfinished SET accepted = accepted + ?, refused = refused + ?, "
            "refusal = coalesce(refusal, ?) WHERE launch_id = ?",
            (accepted, not accepted, refusal, launch_id),
        )

    def settle(self, launch_id: str | None = None) -> None:
        """End a launch's sending, or everybody's: what was not begun is offered again."""
        self._connection.execute(
            "UPDATE unfinished SET state = CASE WHEN sent < prompts THEN 'offered' ELSE 'sent' END "
            "WHERE state = 'sending' AND (launch_id = ?1 OR ?1 IS NULL)",
            (launch_id,),
        )

    def unreadable(self, launch_id: str, why: str) -> None:
        """Note that what is left of a row cannot be sent any more."""
        self._connection.execute(
            "UPDATE unfinished SET sent = prompts, refused = prompts - accepted, "
            "refusal = coalesce(refusal, ?) WHERE launch_id = ?",
            (why, launch_id),
        )

    def remove(self, launch_id: str) -> None:
        """Forget a row."""
        self._connection.execute("DELETE FROM unfinished WHERE launch_id = ?", (launch_id,))
