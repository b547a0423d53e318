"""What accelerators this machine has, and how they are.

Here: the cards of the port table and their kind. ``sampler`` looks at them with their driver's tool
(``tool``), whose words ``ascend``, ``cuda`` and ``rocm`` read; ``baseline`` knows what is normal.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from manager.ports import LOCAL
from manager.settings import Settings

TOOLS = {"ascend": "npu-smi", "cuda": "nvidia-smi", "rocm": "rocm-smi"}
"""The driver's tool that tells a kind, in the order in which they are looked for."""


ELSEWHERE = "elsewhere"
"""No tool of this machine tells anything of cards on other ones."""


@dataclass(frozen=True)
class Card:
    """One accelerator: the number people say, its kind, and the driver's id for it.

    ``node`` is the machine that has it, None for this one, ``any`` where it is a place to work on
    whichever machine has a card free.
    """

    card: int
    kind: str
    device: int
    port: int
    node: str | None = None


def kind_in_force(settings: Settings) -> str:
    """Say what the cards are: as set, or by the first driver tool on PATH, else ``cpu``."""
    if settings.card_kind != "auto":
        return settings.card_kind
    return next((kind for kind, tool in TOOLS.items() if shutil.which(tool)), "cpu")


def kind_measured(settings: Settings) -> str:
    """Say which kind's tool can be asked how the cards are: that of this machine's cards."""
    here = settings.launcher == LOCAL
    return kind_in_force(settings) if here else ELSEWHERE


def cards(settings: Settings) -> list[Card]:
    """List the cards of the port table."""
    kind = kind_in_force(settings)
    return [Card(row.card, kind, row.device, row.port, row.node) for row in settings.ports]
