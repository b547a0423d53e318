"""What the pages ask of the waiting line, as a protocol; the other rooms stand in ``house``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manager.line_history import Period
from manager.records import User, Waiting
from manager.spans import LineSpan


class Line(Protocol):
    """The waiting line."""

    def join(self, user: User, /) -> None:
        """Put a user at its end."""

    def leave(self, user_id: int, /, *, by: User) -> None:
        """Take a user out."""

    def take_back(self, user: User, /) -> None:
        """Give who has just left it his old place."""

    def all(self) -> Sequence[Waiting]:
        """List who waits, the first first."""

    def of_user(self, user_id: int, /) -> Waiting | None:
        """Give a user's place, or that he missed his turn."""

    def lengths(self) -> Sequence[float]:
        """List how many seconds the last sessions lasted."""

    def seconds_left(self, one: Waiting, /) -> float:
        """Say how long what is offered to somebody is still kept for him."""


class LineHistory(Protocol):
    """How long the line was."""

    def spans(self, period: Period, now: float, /) -> Sequence[LineSpan]:
        """Give the spans up to ``now``, the oldest first; without those that have none."""


class WithLineHistory(Protocol):
    """A manager that remembers how long the line was."""

    @property
    def line_history(self) -> LineHistory:
        """How long the line was."""
