"""The ``usage`` table: who had which card, from when to when, and why it ended.

Beside it stands ``usage_days``: what each session was used for, by local days.
"""

from __future__ import annotations

import dataclasses
import sqlite3

from manager import days
from manager.counts import Counted
from manager.records import Instance, Usage, User

_COLUMNS = ", ".join(one.name for one in dataclasses.fields(Usage))


class UsageLog:
    """Sessions of use, one a launch."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def begin(
        self,
        launch_id: str,
        user: User,
        port: int,
        card: int,
        at: float,
        *,
        automatic: bool = False,
        waited: float = 0.0,
    ) -> None:
        """Add a session of use that begins ``at``, after ``waited`` seconds in line.

        ``automatic`` when the manager began it.
        """
        self._connection.execute(
            "INSERT INTO usage (launch_id, user_id, username, port, card, started_at, automatic, "
            "waited_seconds, last_prompt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '')",
            (launch_id, user.id, user.username, port, card, at, automatic, waited),
        )
        self._hold(launch_id, at, at)

    def ready(self, launch_id: str, at: float) -> None:
        """Note when it could be used."""
        self._connection.execute(
            "UPDATE usage SET ready_at = ? WHERE launch_id = ?", (at, launch_id)
        )

    def note_evidence(self, launch_id: str, evidence: str) -> None:
        """Note what an end for idleness rests on."""
        self._connection.execute(
            "UPDATE usage SET evidence = ? WHERE launch_id = ?", (evidence, launch_id)
        )

    def end(self, launch_id: str, at: float, reason: str, last: Instance) -> None:
        """Note when and why it ended, with what the port's row says; the first end counts."""
        lasting = self._lasting_since(launch_id)
        if lasting is None:
            return
        self._connection.execute(
            "UPDATE usage SET ended_at = ?, end_reason = ?, fault = ?, fault_kind = ?, "
            "fault_line = ?, exit_code = ? WHERE launch_id = ?",
            (
                *(at, reason, last.fault, last.fault_kind, last.fault_line, last.exit_code),
                launch_id,
            ),
        )
        self._hold(launch_id, lasting, at)

    def count(self, counted: Counted, at: float) -> None:
        """Add what was counted; one whose session is no longer kept is dropped.

        Of a session that lasts, the time it has held its card until ``at`` is written too.
        """
        cursor = self._connection.execute(
            "UPDATE usage SET last_prompt = coalesce(?, last_prompt) WHERE launch_id = ?",
            (counted.last_prompt, counted.launch_id),
        )
        if cursor.rowcount == 0:
            return
        self._connection.execute(
            "INSERT INTO usage_days (launch_id, day, worked_seconds, idle_seconds, "
            "unknown_seconds, prompts) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (launch_id, day) DO UPDATE SET "
            "worked_seconds = worked_seconds + excluded.worked_seconds, "
            "idle_seconds = idle_seconds + excluded.idle_seconds, "
            "unknown_seconds = unknown_seconds + excluded.unknown_seconds, "
            "prompts = prompts + excluded.prompts",
            (
                *(counted.launch_id, counted.day, counted.worked_seconds, counted.idle_seconds),
                *(counted.unknown_seconds, counted.prompts),
            ),
        )
        lasting = self._lasting_since(counted.launch_id)
        if lasting is not None:
            self._hold(counted.launch_id, lasting, at)

    def _lasting_since(self, launch_id: str) -> float | None:
        row = self._connection.execute(
            "SELECT started_at FROM usage WHERE launch_id = ? AND ended_at IS NULL", (launch_id,)
        ).fetchone()
        return row["started_at"] if row else None

    def _hold(self, launch_id: str, begin: float, end: float) -> None:
        """Write on which days the card was held for how long; may be written again and again."""
        self._connection.executemany(
            "INSERT INTO usage_days (launch_id, day, held_seconds) VALUES (?, ?, ?) "
            "ON CONFLICT (launch_id, day) DO UPDATE SET held_seconds = excluded.held_seconds",
            [(launch_id, day, seconds) for day, seconds in days.split(begin, end)],
        )

    def last_prompt(self, launch_id: str) -> str | None:
        """Give the newest finished prompt that is counted; empty before the first.

        None where the prompts were not counted from the beginning.
        """
        row = self._connection.execute(
            "SELECT last_prompt FROM usage WHERE launch_id = ?", (launch_id,)
        ).fetchone()
        return row["last_prompt"] if row else None

    def prune(self, before: float) -> int:
        """Remove the sessions that ended before a moment and say how many these were."""
        cursor = self._connection.execute(
            "DELETE FROM usage WHERE coalesce(ended_at, started_at) < ? AND launch_id NOT IN "
            "(SELECT launch_id FROM port_status WHERE status IN ('starting', 'running', "
            "'stopping'))",
            (before,),
        )
        return cursor.rowcount

    def any_before(self, before: float) -> bool:
        """Tell whether there is anything that ``prune`` might remove."""
        row = self._connection.execute(
            "SELECT 1 FROM usage WHERE started_at < ? AND coalesce(ended_at, started_at) < ?",
            (before, before),
        ).fetchone()
        return row is not None

    def automatic_starts(self, user_id: int, since: float) -> list[float]:
        """List when the manager itself began something for a user, after ``since``."""
        rows = self._connection.execute(
            "SELECT started_at FROM usage WHERE user_id = ? AND automatic AND started_at > ?",
            (user_id, since),
        )
        return [row["started_at"] for row in rows]

    def unhappy_since(self, since: float) -> dict[str, int]:
        """Count by user name the sessions that failed after ``since`` (UTC epoch seconds)."""
        rows = self._connection.execute(
            "SELECT username, count(*) AS count FROM usage WHERE ended_at > ? AND end_reason IN "
            "('died', 'launch_failed', 'overdue', 'hung') GROUP BY username ORDER BY username",
            (since,),
        )
        return {row["username"]: row["count"] for row in rows}

    def was_automatic(self, launch_id: str) -> bool:
        """Tell whether the manager itself began a launch."""
        row = self._connection.execute(
            "SELECT automatic FROM usage WHERE launch_id = ?", (launch_id,)
        ).fetchone()
        return bool(row and row["automatic"])

    def lengths(self, most: int) -> list[float]:
        """List how many seconds the newest ``most`` sessions lasted that got ready and ended."""
        rows = self._connection.execute(
            "SELECT ended_at - started_at AS length FROM usage WHERE ready_at IS NOT NULL "
            "AND ended_at > started_at ORDER BY started_at DESC LIMIT ?",
            (most,),
        )
        return [row["length"] for row in rows]

    def start_times(self, most: int, user_id: int | None = None) -> list[float]:
        """List how many seconds the newest ``most`` starts took until they were ready.

        Those of a user, or of all.
        """
        whose = "TRUE" if user_id is None else "user_id = ?"
        rows = self._connection.execute(
            f"SELECT ready_at - started_at AS took FROM usage WHERE {whose} "  # noqa: S608
            "AND ready_at IS NOT NULL ORDER BY started_at DESC LIMIT ?",
            (*(() if user_id is None else (user_id,)), most),
        )
        return [row["took"] for row in rows]

    def ended_on(self, user_id: int, day: str) -> float:
        """Say how many seconds of a day a user's sessions held cards that have ended."""
        row = self._connection.execute(
            "SELECT coalesce(sum(held_seconds), 0) AS held FROM usage_days "
            "CROSS JOIN usage USING (launch_id) "
            "WHERE day = ? AND user_id = ? AND ended_at IS NOT NULL",
            (day, user_id),
        ).fetchone()
        return float(row["held"])

    def last_of(self, user_id: int) -> Usage | None:
        """Give a user's newest session of use."""
        row = self._connection.execute(
            # By the order in which they were written: a clock that was set back puts a new session
            # before the old ones.
            f"SELECT {_COLUMNS} FROM usage "  # noqa: S608
            "WHERE rowid = (SELECT max(rowid) FROM usage WHERE user_id = ?)",
            (user_id,),
        ).fetchone()
        return Usage(**{**dict(row), "automatic": bool(row["automatic"])}) if row else None
