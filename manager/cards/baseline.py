"""How much of a card's memory is in use when nobody uses it, learned card by card.

Idle is not zero: a 910B holds about 3 GB without any process, and two cards of one kind differ. The
lowest of the last quiet readings counts, quiet being: no instance has the card, no process is named
on it, and its memory is not far above what was learned before. So what is left behind by somebody
is never learned as normal, unless an admin says that it is.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from manager.cards.reading import BAD_HEALTH, MIB, CardProcess, Reading

RECENT = 20
"""Quiet readings whose lowest counts."""

LEAST_TOLERANCE = 512 * MIB
TOLERANCE_SHARE = 0.02
"""Above its baseline a card may hold this much and count as free: a driver's own use wanders by
some hundred megabytes, and a process that computes holds more than this."""

LEAST_NOBODYS = 2048 * MIB
NOBODYS_SHARE = 0.1
"""A free card may hold this much more by no process that is named: a screen's programs come and go,
and some tools name no process at all. More of it is somebody's computation."""

MOST_IDLE_SHARE = 0.4
"""More than this share of the memory is nobody's idle: the most seen without a process is 22 %."""

SAVE_STEP = 64 * MIB
"""Smaller changes are not written: a machine at rest writes nothing."""


def limit(baseline: int | None, total: int) -> int:
    """Give how much may be in use on a free card, in bytes."""
    if baseline is None:
        return int(total * MOST_IDLE_SHARE)
    return baseline + max(LEAST_TOLERANCE, int(total * TOLERANCE_SHARE))


def above(reading: Reading, baseline: int | None) -> bool | None:
    """Tell whether more is in use than on a free card; None where nobody can tell."""
    if reading.memory_used is None or reading.memory_total is None:
        return None
    return reading.memory_used > limit(baseline, reading.memory_total)


def _nobodys(reading: Reading, baseline: int | None) -> bool:
    """Tell whether so much more is in use that somebody must be computing."""
    used, total = reading.memory_used or 0, reading.memory_total or 0
    more = max(LEAST_NOBODYS, int(total * NOBODYS_SHARE))
    return bool(above(reading, baseline)) and (baseline is None or used > baseline + more)


def memory_words(reading: Reading, baseline: int | None) -> str:
    """Say how much is in use, for people; in MiB as the tools print it."""
    used = (reading.memory_used or 0) // MIB
    idle = "unknown" if baseline is None else f"{baseline // MIB} MiB"
    return f"{used} MiB in use, {idle} when idle"


def busy(reading: Reading, foreign: tuple[CardProcess, ...], baseline: int | None) -> str:
    """Say why a card that no instance has must not be given out; empty when it may."""
    if reading.health in BAD_HEALTH:
        return f"the card's health is {reading.health}"
    more = above(reading, baseline)
    if foreign and (more is not False or baseline is None):
        return f"in use by {', '.join(map(process_words, foreign[:4]))}"
    if not foreign and _nobodys(reading, baseline):
        return f"{NOBODYS_MEMORY}: {memory_words(reading, baseline)}"
    return ""


NOBODYS_MEMORY = "its memory is in use, by no process that its tool names"


def process_words(one: CardProcess) -> str:
    """Name a process, for people."""
    about = ", ".join(filter(None, (Path(one.name).name, one.owner)))
    number = f"process {one.pid}" if one.pid is not None else "a process outside of this container"
    return f"{number} ({about})" if about else number


class Baselines:
    """What was learned, in a small file that outlives the manager. Not for several threads."""

    def __init__(self, path: Path, kind: str) -> None:
        """Read what was learned of this kind of card; a file that cannot be read is begun anew."""
        self._path = path
        self._kind = kind
        self._saved = _load(path, kind)
        self._known = dict(self._saved)
        self._recent: dict[int, deque[int]] = {}

    def get(self, device: int) -> int | None:
        """Give a card's memory in use when idle, in bytes; None while it is not known."""
        return self._known.get(device)

    def take(self, reading: Reading) -> bool:
        """Learn from a card that nobody uses; tell whether something is to be saved."""
        if reading.processes or above(reading, self.get(reading.device)) is not False:
            return False
        recent = self._recent.setdefault(reading.device, deque(maxlen=RECENT))
        recent.append(reading.memory_used or 0)
        return self._set(reading.device, min(recent))

    def accept(self, reading: Reading) -> bool:
        """Take what is in use now for normal, because an admin says so."""
        if reading.memory_used is None:
            return False
        self._recent[reading.device] = deque([reading.memory_used], maxlen=RECENT)
        return self._set(reading.device, reading.memory_used)

    def _set(self, device: int, memory: int) -> bool:
        self._known[device] = memory
        saved = self._saved.get(device)
        return saved is None or abs(saved - memory) >= SAVE_STEP

    def save(self) -> None:
        """Write the file; call through ``runtime.offload``.

        Raises:
            OSError: it cannot be written.
        """
        known = dict(self._known)
        devices = {str(device): memory for device, memory in known.items()}
        fresh = self._path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"kind": self._kind, "devices": devices}, file)
        fresh.replace(self._path)
        self._saved = known


def _load(path: Path, kind: str) -> dict[int, int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, Mapping) or content.get("kind") != kind:
        return {}
    devices = content.get("devices")
    if not isinstance(devices, Mapping):
        return {}
    return {
        int(device): memory
        for device, memory in devices.items()
        if device.isdecimal() and isinstance(memory, int) and memory >= 0
    }
