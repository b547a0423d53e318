"""How far what people look at stands back while the machine is busy.

Pages are updated and cards are looked at more rarely then. The watch does not know of it: its
checks decide whose work is ended, and come each second whatever the load.
"""

from __future__ import annotations

from dataclasses import dataclass

from manager.settings import Settings

BUSY_AFTER = 2
"""Busy samples in a row after which it slows down: a start of ComfyUI alone is none."""

FREE_AFTER = 5
"""Samples in a row without load after which it goes on at full speed: no to and fro."""


@dataclass(frozen=True)
class Limits:
    """From when the machine is busy, and how many times more rarely things are done then.

    ``cpu_percent`` is of all processors together, ``load`` the load average for each of them; 0
    leaves either out.
    """

    cpu_percent: float
    load: float
    slowdown: int


def limits(settings: Settings) -> Limits:
    """Give what the operator chose."""
    return Limits(settings.busy_cpu_percent, settings.busy_load, settings.busy_slowdown)


class Pace:
    """Judges samples of the load one after the other."""

    def __init__(self, limits: Limits, processors: int) -> None:
        """Begin at full speed."""
        self._limits = limits
        self._processors = max(1, processors)
        self._slowed = False
        self._against = 0

    @property
    def slowdown(self) -> int:
        """How many times more rarely than at full speed; 1 is full speed."""
        return self._limits.slowdown if self._slowed else 1

    def take(self, cpu_percent: float, load_average: float) -> None:
        """Take a sample; ``load_average`` is that of the last minute."""
        if self._busy(cpu_percent, load_average) is self._slowed:
            self._against = 0
            return
        self._against += 1
        if self._against >= (FREE_AFTER if self._slowed else BUSY_AFTER):
            self._slowed, self._against = not self._slowed, 0

    def _busy(self, cpu_percent: float, load_average: float) -> bool:
        limits = self._limits
        return (
            0 < limits.cpu_percent <= cpu_percent
            or 0 < limits.load <= load_average / self._processors
        )
