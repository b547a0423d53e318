"""What the pages ask of the cards, as protocols; the rest of the rooms stand in ``house``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from manager.card_history import Period
from manager.cards.sampler import CardState
from manager.spans import Span


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

    @property
    def node(self) -> str | None:
        """The machine that has it; None for this one."""


class CardHistory(Protocol):
    """What the cards showed."""

    def spans(self, device: int, period: Period, now: float, /) -> list[Span]:
        """Give a device's spans up to ``now``, the oldest first; without those that have none."""

    def use(self, span_s: int, shift: int, since: float, /) -> Mapping[tuple[int, int], float]:
        """Give how busy devices were, in percent, by device and by when a span begins."""


class Remembered(Protocol):
    """A manager that remembers how cards were."""

    @property
    def card_history(self) -> CardHistory:
        """How the accelerators were."""


class Sampler(Protocol):
    """What looks at the cards."""

    def state(self, device: int, /) -> CardState | None:
        """Give what is known of a card; None before the first look."""
