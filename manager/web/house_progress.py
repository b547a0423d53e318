"""What the pages ask about running work, as protocols; the rest of the rooms stand in ``house``."""

from __future__ import annotations

from typing import Protocol

from manager.progress import Progress


class Follower(Protocol):
    """What follows the work of instances."""

    def progress(self, port: int, /) -> Progress | None:
        """Give how far the work on a port is; None when there is none, or nobody knows."""


class Followed(Protocol):
    """A manager that follows work."""

    @property
    def follower(self) -> Follower:
        """How far running work is."""
