"""Whether there are backups, how old the newest is, and whether the manager can make them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from manager.backup import make, scheduled
from manager.doctor.finding import OK, WARNING, Finding
from manager.settings import Settings

HOUR_S = 3600.0
LATE = 2
"""So many times the hours between two, and the manager should have made one."""


def backups(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """Look at those that the manager makes, else at those made by hand into its own folder."""
    every, where = settings.backup_every_hours, scheduled.folder(settings)
    last = scheduled.newest(where) or scheduled.newest(settings.data_dir / make.FOLDER)
    failed = scheduled.tried(settings)
    told: dict[str, object] = {"path": str(where), "every": every}
    hours = 0
    if last is not None:
        hours = max(0, round((time.time() - last.at) / HOUR_S))
        told |= {"path": str(last.path), "hours": hours}
    if every and failed.problem:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(failed.at))
        yield Finding("backup", WARNING, "failing", {"reason": failed.problem, "since": since})
    elif last is None:
        yield Finding("backup", OK if every else WARNING, "none_yet" if every else "none", told)
    elif every and running and hours > LATE * every:
        yield Finding("backup", WARNING, "old", told)
    else:
        yield Finding("backup", OK, "ok" if every else "by_hand", told)
