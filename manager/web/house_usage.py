"""What the pages ask of the book of use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manager.counts import Held, Own, Sitting, Total
from manager.start_times import Usual


class Book(Protocol):
    """What sessions were used for."""

    def today(self) -> str:
        """Give the day it is on the server."""

    def totals(self, group: str, since: str, /) -> Sequence[Total]:
        """Give totals from a day on, by ``user``, ``day`` or ``card``."""

    def held_by_day(self, since: str, most: int, /) -> Sequence[Held]:
        """Give by days what the ``most`` users with most time held, and the rest together."""

    def sittings(self, since: str, most: int, /) -> Sequence[Sitting]:
        """List the newest sessions that held a card on a day or later."""

    def own(self, user_id: int, most: int, /) -> Own:
        """Give what one user may know of his own use."""

    def usual_start(self, launch_id: str, user_id: int, /) -> Usual | None:
        """Say how long a user's start usually takes."""
