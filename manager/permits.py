"""The records of what users are allowed, as they leave the store: limits, reservations, more time.

``*_at`` and ``*_until`` are UTC epoch seconds.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UserLimits:
    """What an admin allows one user; what is None is as the settings say.

    ``priority`` in the waiting line is ``low``, ``normal`` or ``high``. ``day_limit`` and
    ``session_limit`` are seconds, 0 for none; ``sessions_at_once`` is 0 or 1. ``disk_limit`` is
    what folders may take, in MiB, 0 for no limit.
    """

    user_id: int
    priority: str = "normal"
    sessions_at_once: int | None = None
    day_limit: int | None = None
    session_limit: int | None = None
    disk_limit: int | None = None


@dataclass(frozen=True)
class Reservation:
    """A port that an admin keeps for the users named; without any it is out of use.

    ``until`` None: until it is put back.
    """

    port: int
    reserved_by: str
    reserved_at: float
    until: float | None = None
    reason: str = ""
    user_ids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Grant:
    """What a launch's user has asked for against the idle limit; a row of ``grants``.

    Until ``extended_until`` and ``awake_until`` it is not ended for idleness. ``extensions`` counts
    the former. What is announced now began at ``awake_from``; ``awake_spent`` are the seconds of
    what was announced before.
    """

    launch_id: str
    extensions: int = 0
    extended_until: float | None = None
    awake_from: float | None = None
    awake_until: float | None = None
    awake_spent: float = 0.0
