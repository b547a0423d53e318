"""Records of what sessions of use were used for. Seconds are seconds; ``*_at`` UTC epoch seconds.

*Worked* is time with something in the queue, *idle* time without; *unknown* is time of which
nobody can say, and counts as neither. Time while it starts, ends, or while no manager runs is in
none of the three, but it is *held* like all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Counted:
    """What was counted of a launch on one day and is not written yet.

    ``last_prompt`` is the id of the newest finished prompt that is among those counted; None
    leaves what was written before.
    """

    launch_id: str
    day: str
    worked_seconds: float
    idle_seconds: float
    unknown_seconds: float
    prompts: int
    last_prompt: str | None = None


@dataclass(frozen=True)
class Total:
    """What a user, a day or a card comes to in some time.

    ``key`` is the user's name, the day, or the card's number. ``sessions`` counts those that held
    a card for some of that time; ``waited`` those begun in it after waiting in line, and
    ``waited_median`` is how long half of these waited at most, None without any.
    """

    key: str
    sessions: int
    held_seconds: float
    worked_seconds: float
    idle_seconds: float
    unknown_seconds: float
    prompts: int
    waited: int
    waited_median: float | None


@dataclass(frozen=True)
class Sitting:
    """One session of use, with what it was used for.

    ``waited_seconds`` is None for a session begun before that was noted; ``ended_at`` and
    ``end_reason`` are None while it lasts.
    """

    username: str
    port: int
    card: int
    started_at: float
    ended_at: float | None
    end_reason: str | None
    waited_seconds: float | None
    held_seconds: float
    worked_seconds: float
    idle_seconds: float
    unknown_seconds: float
    prompts: int


@dataclass(frozen=True)
class Own:
    """What a user may know of his own use: today, since Monday, and the newest sessions."""

    today: Total
    week: Total
    sittings: Sequence[Sitting]


@dataclass(frozen=True)
class Held:
    """How long cards were held on a day by one user; ``username`` None: by all not named."""

    day: str
    username: str | None
    held_seconds: float


@dataclass(frozen=True)
class DiskUse:
    """What a user's folders took on the disk when they were walked through.

    ``folders`` gives bytes by the folder's name; without ``complete`` they take at least that.
    ``seconds`` is how long the walk took.
    """

    user_id: int
    taken_at: float
    seconds: float
    folders: Mapping[str, int]
    complete: bool

    @property
    def total(self) -> int:
        """Give the bytes of all folders."""
        return sum(self.folders.values())


@dataclass(frozen=True)
class DiskCandidate:
    """A user with a folder. ``used_at`` is when he last had an instance, or None; see ``lasts``."""

    user_id: int
    workspace: str
    used_at: float | None
    lasts: bool
