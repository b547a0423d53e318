"""What a user is allowed, and how much of it is left. Pure. Seconds throughout."""

from __future__ import annotations

from dataclasses import dataclass

from manager.permits import UserLimits
from manager.settings import Settings

DAY, SESSION = "day", "session"


@dataclass(frozen=True)
class Allowance:
    """What is in force for a user; 0 is no limit, but no session at once is none at all."""

    priority: str
    sessions_at_once: int
    day_limit: int
    session_limit: int
    disk_limit: int
    """MiB."""


@dataclass(frozen=True)
class TimeLeft:
    """How long a session may go on; below 0, for how long its time has been over.

    ``limit`` is which one comes first, ``day`` or ``session``. ``open_for`` is how long its
    workspace still stays open while it works; None where that is not limited.
    """

    seconds: float
    limit: str
    open_for: float | None = None

    @property
    def over(self) -> bool:
        """Tell whether it is to end as soon as it has no work."""
        return self.seconds <= 0

    @property
    def shut(self) -> bool:
        """Tell whether its workspace is to be closed, so that no work is added."""
        return self.open_for is not None and self.open_for <= 0


@dataclass(frozen=True)
class Blocked:
    """Why a user may not start: ``sessions``, ``disk``, or ``day`` until ``again_at``.

    ``again_at`` is UTC epoch seconds. ``disk``: his folders take ``used`` of ``limit`` bytes.
    """

    reason: str
    again_at: float | None = None
    used: int = 0
    limit: int = 0


def allowance(limits: UserLimits, settings: Settings) -> Allowance:
    """Say what is in force for a user: his own limits, and where he has none the settings."""

    def chosen(own: int | None, default: int) -> int:
        return default if own is None else own

    return Allowance(
        limits.priority,
        chosen(limits.sessions_at_once, settings.sessions_at_once),
        chosen(limits.day_limit, settings.day_limit),
        chosen(limits.session_limit, settings.session_limit),
        # Where nobody counts, old numbers must not keep anybody away.
        chosen(limits.disk_limit, settings.disk_soft_limit) if settings.disk_use_interval else 0,
    )


def time_left(
    allowed: Allowance, *, age: float, used: float, day_left: float, grace: float
) -> TimeLeft | None:
    """Say how long a session may go on; None without a limit.

    Args:
        allowed: what is in force for its user.
        age: how long it has held its card.
        used: how long its user has held cards today, this session included.
        day_left: how long the day still is; with the next one begins a new day's time.
        grace: how long a workspace stays open after a limit; 0: as long as there is work.
    """
    found: list[tuple[float, str]] = []
    if allowed.session_limit:
        found.append((allowed.session_limit - age, SESSION))
    if allowed.day_limit:
        left = allowed.day_limit - used
        found.append((left if left <= day_left else day_left + allowed.day_limit, DAY))
    if not found:
        return None
    seconds, limit = min(found)
    return TimeLeft(seconds, limit, seconds + grace if grace else None)
