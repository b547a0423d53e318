"""What the pages ask of what is said to everybody: announcements, and maintenance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manager.notices import Announcement, Maintenance
from manager.records import User


class Announcements(Protocol):
    """What is told to everybody."""

    def all(self) -> Sequence[Announcement]:
        """List what is in force."""

    def of_user(self, user_id: int, /) -> Sequence[Announcement]:
        """List what a user has not put away."""

    def make(
        self, level: str, text_en: str, text_zh: str, until: float | None, /, *, by: User
    ) -> None:
        """Tell everybody something."""

    def end(self, number: int, /, *, by: User) -> None:
        """Take one back."""

    def put_away(self, number: int, user: User, /) -> None:
        """Show a notice to its reader no more."""


class Switch(Protocol):
    """Whether anything is started."""

    def now(self) -> Maintenance | None:
        """Give the maintenance in force."""

    def begin(self, reason: str, until: float | None, /, *, by: User) -> Maintenance:
        """Begin it, or say anew why and until when."""

    def end(self, *, by: User) -> None:
        """End it."""


class WithAnnouncements(Protocol):
    """What has announcements."""

    @property
    def announcements(self) -> Announcements:
        """What is told to everybody."""


class WithSwitch(Protocol):
    """What can be put under maintenance."""

    @property
    def maintenance(self) -> Switch:
        """Whether anything is started."""
