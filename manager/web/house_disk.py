"""What the pages ask of what users' folders take, as protocols; the others stand in ``house``."""

from __future__ import annotations

from typing import Protocol

from manager.counts import DiskUse


class Disk(Protocol):
    """What users' folders take on the disk."""

    @property
    def on(self) -> bool:
        """Whether anything is walked through at all."""

    def of_user(self, user_id: int, /) -> DiskUse | None:
        """Give what was found last."""

    def is_under_way(self, user_id: int, /) -> bool:
        """Tell whether a user's folders are being walked through now."""

    def ask(self, user_id: int, /) -> None:
        """Take note that somebody looks at a user's figures."""

    def touch(self, user_id: int, /) -> None:
        """Take note that files of a user's were deleted."""


class WithDisk(Protocol):
    """A manager that knows what folders take."""

    @property
    def disk(self) -> Disk:
        """What users' folders take."""
