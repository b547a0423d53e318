"""The ``port_status`` table: one row a port, moved by compare-and-swap."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

from manager.errors import LostRace
from manager.records import Address, Instance
from manager.states import State

_COLUMNS = (
    "port, status, current_user_id, current_username, process_id, launch_id, token, secret, "
    "started_at, ready_at, deadline_at, stop_reason, fault, idle_count, fault_kind, fault_line, "
    "exit_code, address"
)
_HOLDING = "status IN ('starting', 'running', 'stopping')"
_WRITABLE = frozenset(
    {
        "current_user_id",
        "current_username",
        "process_id",
        "launch_id",
        "token",
        "secret",
        "started_at",
        "ready_at",
        "deadline_at",
        "stop_reason",
        "fault",
        "idle_count",
        "fault_kind",
        "fault_line",
        "exit_code",
        "address",
    }
)


def _instance_of(row: sqlite3.Row) -> Instance:
    return Instance(
        port=row["port"],
        state=State(row["status"]),
        user_id=row["current_user_id"],
        username=row["current_username"],
        process_id=row["process_id"],
        launch_id=row["launch_id"],
        token=row["token"],
        secret=row["secret"],
        started_at=row["started_at"],
        ready_at=row["ready_at"],
        deadline_at=row["deadline_at"],
        stop_reason=row["stop_reason"],
        fault=row["fault"],
        idle_count=row["idle_count"],
        fault_kind=row["fault_kind"],
        fault_line=row["fault_line"],
        exit_code=row["exit_code"],
        address=Address.parse(row["address"]),
    )


class Ports:
    """Rows of ports. Every change of ``status`` goes through ``move``."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def ensure(self, ports: Iterable[int]) -> None:
        """Add an idle row for each port that has none."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO port_status (port) VALUES (?)", [(port,) for port in ports]
        )

    def get(self, port: int) -> Instance | None:
        """Find a port's row."""
        return next(iter(self._where("port = ?", port)), None)

    def of_user(self, user_id: int) -> Instance | None:
        """Find the row a user holds; there is at most one."""
        return next(iter(self._where(f"current_user_id = ? AND {_HOLDING}", user_id)), None)

    def all(self) -> list[Instance]:
        """List every row by port."""
        return self._where("TRUE")

    def holding(self) -> list[Instance]:
        """List the rows that somebody holds."""
        return self._where(_HOLDING)

    def move(
        self, port: int, *, before: State, after: State, values: Mapping[str, object]
    ) -> Instance:
        """Change a row from one state to another, with other columns in the same stroke.

        Raises:
            LostRace: the row was not in ``before``; nothing is written.
        """
        return self._update(port, before, {**values}, after)

    def note(self, port: int, launch_id: str, state: State, values: Mapping[str, object]) -> None:
        """Write columns of a row that must still belong to this launch and be in this state.

        Raises:
            LostRace: it does not; nothing is written.
        """
        found = self.get(port)
        if found is None or found.launch_id != launch_id:
            raise LostRace(f"port {port} belongs to another launch")
        self._update(port, state, {**values}, state)

    def note_checks(self, idle_counts: Mapping[str, int]) -> None:
        """Write how long each launch (by id) has been without work, for people and restarts."""
        self._connection.executemany(
            "UPDATE port_status SET idle_count = ?, last_queue_check = CURRENT_TIMESTAMP "
            "WHERE launch_id = ? AND status = 'running'",
            [(seconds, launch_id) for launch_id, seconds in idle_counts.items()],
        )

    def note_activity(self, launch_id: str) -> None:
        """Write that a launch has just been seen at work."""
        self._connection.execute(
            "UPDATE port_status SET last_activity = CURRENT_TIMESTAMP WHERE launch_id = ?",
            (launch_id,),
        )

    def _update(
        self, port: int, before: State, values: dict[str, object], after: State
    ) -> Instance:
        unknown = values.keys() - _WRITABLE
        if unknown:
            raise KeyError(sorted(unknown))
        columns = "".join(f", {name} = ?" for name in values)
        cursor = self._connection.execute(
            f"UPDATE port_status SET status = ?{columns} WHERE port = ? AND status = ?",  # noqa: S608
            (after.value, *values.values(), port, before.value),
        )
        found = self.get(port)
        if cursor.rowcount != 1 or found is None:
            raise LostRace(f"port {port} is no longer {before}")
        return found

    def _where(self, where: str, *values: object) -> list[Instance]:
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM port_status WHERE {where} ORDER BY port",  # noqa: S608
            values,
        )
        return [_instance_of(row) for row in rows]
