"""What the pages ask of the cards, as protocols; the rest of the rooms stand in ``house``."""

from __future__ import annotations

from typing import Protocol

from manager.cards.sampler import CardState


class Card(Protocol):
    """One accelerator."""

    @property
    def card(self) -> int:
        """The number people say."""

    @property
    def kind(self) -> str:
        """ascend, cuda, rocm or cpu."""

    @property
    def device(self) -> int:
        """The driver's id for it."""


class Sampler(Protocol):
    """What looks at the cards."""

    def state(self, device: int, /) -> CardState | None:
        """Give what is known of a card; None before the first look."""
