"""What is known of a card at one moment, and how a tool's printed numbers are read. Pure.

A value that a tool does not give, or that makes no sense, is None: unknown, never zero. Memory in
bytes, use in percent, temperature in degrees Celsius, power in watts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MIB = 1 << 20

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,6})?\Z")
_HOTTEST, _STRONGEST = 200, 10_000

BAD_HEALTH = frozenset({"alarm", "critical"})
"""Words of npu-smi for a card that should not be used: ``OK``, ``Warning``, ``Alarm``,
``Critical`` (Ascend "npu-smi info" reference, column Health)."""


class Unreadable(Exception):
    """A tool gave nothing that can be relied on; the message says why, in English."""


@dataclass(frozen=True)
class CardProcess:
    """A process that the tool names.

    ``pid`` is the number as printed, which in a container is the host's; ``inside`` the one in its
    own container, where the tool gives both. ``owner`` is the account it runs under, empty where
    nobody can tell.
    """

    pid: int | None
    memory: int | None
    name: str = ""
    owner: str = ""
    inside: int | None = None


@dataclass(frozen=True)
class Reading:
    """One card as its tool shows it.

    ``device`` is the id that the ``*_VISIBLE_DEVICES`` variables take. ``processes`` None means
    that the tool does not tell, which is not «none». ``unknown`` says why nothing else is known.
    """

    device: int
    name: str = ""
    health: str = ""
    memory_used: int | None = None
    memory_total: int | None = None
    utilisation: float | None = None
    temperature: float | None = None
    power: float | None = None
    processes: tuple[CardProcess, ...] | None = None
    unknown: str = ""


def number(text: object) -> float | None:
    """Read a plain number that is not negative; None for anything else, such as ``NA``."""
    found = str(text).strip()
    return float(found) if _NUMBER.match(found) else None


def percent(text: object) -> float | None:
    """Read a number of 0 to 100."""
    return _at_most(number(text), 100)


def celsius(text: object) -> float | None:
    """Read a temperature that a card can have."""
    return _at_most(number(text), _HOTTEST)


def watts(text: object) -> float | None:
    """Read a power that a card can draw."""
    return _at_most(number(text), _STRONGEST)


def size(text: object, unit: int = 1) -> int | None:
    """Read an amount of memory, in bytes."""
    found = number(text)
    return None if found is None else int(found * unit)


def whole(text: object) -> int | None:
    """Read a whole number, such as an id."""
    found = str(text).strip()
    return int(found) if _NUMBER.match(found) and "." not in found else None


def memory(used: int | None, total: int | None) -> tuple[int | None, int | None]:
    """Give used and total memory, or neither: half of it, or more used than there is, is noise."""
    if used is None or not total or used > total:
        return None, None
    return used, total


def _at_most(found: float | None, limit: float) -> float | None:
    return found if found is not None and found <= limit else None
