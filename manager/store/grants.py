"""The ``grants`` table: what users have asked for against the idle limit, one row a launch."""

from __future__ import annotations

import dataclasses
import sqlite3

from manager.permits import Grant

_NAMES = tuple(one.name for one in dataclasses.fields(Grant))


class GrantTable:
    """Extensions and announcements of the launches that hold a port."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Bind to a connection."""
        self._connection = connection

    def of(self, launch_id: str) -> Grant:
        """Give a launch's row; one with nothing in it where there is none."""
        row = self._connection.execute(
            f"SELECT {', '.join(_NAMES)} FROM grants WHERE launch_id = ?",  # noqa: S608
            (launch_id,),
        ).fetchone()
        return Grant(**dict(row)) if row else Grant(launch_id)

    def all(self) -> list[Grant]:
        """List them."""
        rows = self._connection.execute(f"SELECT {', '.join(_NAMES)} FROM grants")  # noqa: S608
        return [Grant(**dict(row)) for row in rows]

    def put(self, grant: Grant) -> None:
        """Write a launch's row."""
        marks = ", ".join("?" * len(_NAMES))
        self._connection.execute(
            f"INSERT OR REPLACE INTO grants ({', '.join(_NAMES)}) VALUES ({marks})",  # noqa: S608
            dataclasses.astuple(grant),
        )

    def remove(self, launch_id: str) -> None:
        """Forget a launch that has ended."""
        self._connection.execute("DELETE FROM grants WHERE launch_id = ?", (launch_id,))
