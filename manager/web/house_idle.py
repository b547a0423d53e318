"""What the pages ask of the idle verdict, of grants and of kept prompts, as protocols."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from manager.records import Instance, Unfinished, User


class Reading(Protocol):
    """What the watch saw last on a port."""

    @property
    def stage(self) -> str:
        """How far a start or an end got."""

    @property
    def running(self) -> int | None:
        """Jobs being worked on."""

    @property
    def pending(self) -> int | None:
        """Jobs waiting."""

    @property
    def idle_seconds(self) -> float:
        """Seconds without work."""

    @property
    def idle_left(self) -> float | None:
        """Seconds until the instance is ended for want of work."""

    @property
    def idle_by(self) -> str:
        """What holds it; see ``manager.idle``."""

    @property
    def idle_warns(self) -> bool:
        """Whether its user is to be warned."""

    @property
    def idle_unknown(self) -> tuple[str, ...]:
        """Signs of use that cannot tell now."""

    @property
    def responding(self) -> bool:
        """Whether the last question was answered."""

    @property
    def hung_since(self) -> float | None:
        """Since when it has been silent, once that is called a hang."""


class Grants(Protocol):
    """What users may ask for against the idle limit."""

    def extension(self, row: Instance, /) -> tuple[float, int, bool]:
        """Say what one more adds in seconds, how many are left, and whether others wait."""

    def extend(self, user: User, left: float | None, /) -> None:
        """Move the end of a user's session."""

    def awake_until(self, launch_id: str, /) -> float | None:
        """Say until when a launch is kept for announced work."""

    def awake_left(self, launch_id: str, /) -> float:
        """Say how many seconds may still be announced."""

    def keep_awake(self, user: User, seconds: float, /) -> None:
        """Keep a user's session for so long."""

    def end_awake(self, port: int, /, *, by: User, own: bool, seconds: float = 0) -> None:
        """End an announcement, or let it end sooner."""


class Kept(Protocol):
    """Prompts that were left unfinished."""

    def of_user(self, user_id: int, /) -> Sequence[Unfinished]:
        """List what is kept for a user."""

    def listing(self, user_id: int, /) -> list[dict[str, Any]]:
        """Say in short what is offered."""

    def send(self, user: User, /) -> None:
        """Begin to send them again; returns at once."""

    def drop(self, user: User, /) -> None:
        """Forget them."""
