"""Whether a program on another machine still tells of itself, by this machine's clock alone.

Two machines' clocks are never compared, nor is a file's time: a beat is one when it differs from
the last that was seen here, and it is old when that was long ago by the monotonic clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 10.0
"""Time without a new beat after which nobody can tell; it comes once a second.

File systems of other machines show a new file late: NFS keeps what it knows of a folder for up to
3 s where it changes often (nfs(5), ``acregmin``)."""


@dataclass
class _Seen:
    beat: tuple[object, object]
    changed_at: float | None = None


class Beats:
    """The beats of all launches, as this manager saw them."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing seen."""
        self._monotonic = monotonic
        self._seen: dict[str, _Seen] = {}

    def note(self, launch_id: str, beat: Mapping[str, Any]) -> None:
        """Look at a beat. The first one that is seen may be an old one: it proves nothing."""
        if not beat:
            return
        now = (beat.get("boot_id"), beat.get("count"))
        seen = self._seen.get(launch_id)
        if seen is None:
            self._seen[launch_id] = _Seen(now)
        elif seen.beat != now:
            self._seen[launch_id] = _Seen(now, self._monotonic())

    def age(self, launch_id: str) -> float:
        """Give the seconds since a beat was new; infinite where none ever was."""
        seen = self._seen.get(launch_id)
        if seen is None or seen.changed_at is None:
            return float("inf")
        return self._monotonic() - seen.changed_at

    def fresh(self, launch_id: str) -> bool:
        """Tell whether the launch's program surely lives."""
        return self.age(launch_id) < PATIENCE_S

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch."""
        self._seen.pop(launch_id, None)
