"""What the pages ask of who is told what needs an admin, as protocols; see ``house``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manager.webhooks.delivery import Failing


class Care(Protocol):
    """What looks after the house beside its work."""

    def failing(self) -> Sequence[Failing]:
        """List the webhooks that do not take what they are told."""


class WithCare(Protocol):
    """A manager that tells admins what needs them."""

    @property
    def care(self) -> Care:
        """Who is told what."""
