"""What a user is told about himself."""

from __future__ import annotations

from typing import Any, Literal

from manager.web.answers import Answer
from manager.web.answers.instances import Account, Fault, OwnInstance, Restart
from manager.web.answers.notices import Notices

Phase = Literal[
    "idle",
    "starting",
    "running",
    "stopping",
    "failed",
    "no_port",
    "day_used",
    "no_sessions",
    "disk_full",
    "maintenance",
    "turn",
    "waiting",
    "reserved",
    "held_back",
    "full",
]


class LastUsage(Fault):
    """How the last session went; ``evidence`` is what an end for idleness rested on."""

    port: int
    card: int
    started_at: float
    ready_at: float | None
    ended_at: float | None
    end_reason: str | None
    fault: str | None
    evidence: dict[str, Any] | None
    log_tail: str | None


class Supply(Answer):
    """How many of the ports that the user may take are free."""

    free: int
    total: int
    held_back: int
    reserved: int


class OwnLimits(Answer):
    """What the user is allowed, and why he may not start, if so.

    Times in seconds, what is on the disk in bytes; a limit of 0 is none.
    """

    day_limit: int
    session_limit: int
    used_today: int | None
    blocked: Literal["day", "sessions", "disk"] | None
    disk_limit: int
    disk_used: int | None
    again_at: float | None
    again_in: int | None


class OwnReservation(Answer):
    """The reservation that concerns the user."""

    kind: Literal["after", "mine", "others", "nobody", "all"]
    card: int | None
    until: float | None
    reason: str


class Kept(Answer):
    """What is kept of earlier queues, and how the last sending went."""

    state: Literal["offered", "sending", "sent"]
    waiting: int
    left_out: int
    saved_at: float
    sent: int
    accepted: int
    refused: int
    lost: int
    refusal: str | None


class HeldCard(Answer):
    """A card that is kept for announced work."""

    card: int | None
    until: float


class Estimate(Answer):
    """How long it may take until one's turn, in minutes or hours as ``form`` says."""

    low: int
    high: int
    form: Literal["minutes", "hours", "up_to_minutes", "up_to_hours"]


class Offer(Answer):
    """A port kept for the user, for so many seconds more."""

    port: int
    card: int | None
    seconds: int


class OwnLine(Answer):
    """How the user stands in the line; with ``missed_at`` he is out of it."""

    automatic: bool
    limit: int
    held: list[HeldCard]
    missed_at: float | None
    place: int | None
    total: int | None
    estimate: Estimate | None
    no_estimate: str | None
    offer: Offer | None


class UserState(Answer):
    """Everything about the user's own work; ``revision`` only grows."""

    user: Account
    phase: Phase
    instance: OwnInstance | None
    last_usage: LastUsage | None
    restart: Restart | None
    cards: Supply
    limits: OwnLimits
    reservation: OwnReservation | None
    kept: Kept | None
    slowdown: int
    engine_silent: bool
    line: OwnLine | None
    notices: Notices
    revision: int


class Folders(Answer):
    """What each folder takes, in bytes."""

    output: int
    input: int
    user: int
    temp: int
    home: int


class DiskKnown(Answer):
    """What was counted; without ``complete`` there was more than could be looked at."""

    total: int
    taken_at: float
    complete: bool
    folders: Folders


class DiskWarning(Answer):
    """That folders take more than 90 % of ``limit`` bytes, or more than that (``over``).

    ``biggest`` is the folder that takes most, ``size`` what that takes, ``share`` in percent.
    """

    over: bool
    limit: int
    share: int
    biggest: str
    size: int


class OwnDisk(Answer):
    """What the user's folders take; ``there``: whether it is counted at all.

    ``known`` is null before the first time, ``under_way`` says whether they are being counted.
    """

    warning: DiskWarning | None

    there: bool
    known: DiskKnown | None
    under_way: bool


class KeptPrompt(Answer):
    """A kept prompt in short: how many nodes, of which kinds what it makes is."""

    nodes: int
    kinds: list[str]
    was_running: bool


class KeptPrompts(Answer):
    """The prompts that are offered, in the order in which they would be sent."""

    prompts: list[KeptPrompt]


class Changed(Answer):
    """It is done."""

    changed: Literal[True]


class Picture(Answer):
    """A file of the output folder."""

    path: str
    name: str
    size: int
    changed_at: float
    version: str
    is_video: bool


class Pictures(Answer):
    """A page of the user's files, newest first. ``cut``: there were more than were looked at."""

    page: int
    pages: int
    total: int
    cut: bool
    pictures: list[Picture]


class Workflow(Answer):
    """The JSON texts that a PNG carries about how it was made."""

    workflow: str | None
    prompt: str | None


class Deleted(Answer):
    """A file in the trash: ``POST …/restore`` takes both back."""

    path: str
    trash: str


class Restored(Answer):
    """A file that is back."""

    path: str
