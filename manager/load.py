"""The machine's CPU, memory and disk, sampled beside the work and never on request."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from manager import runtime
from manager.pace import Limits, Pace

logger = logging.getLogger(__name__)

INTERVAL_S = 2.0


@dataclass(frozen=True)
class LoadReading:
    """One sample. Percentages are 0-100; sizes in bytes; ``at`` in UTC epoch seconds.

    ``slowdown`` is how many times more rarely pages are updated and cards looked at; 1 at rest.
    """

    cpu_percent: float
    memory_percent: float
    memory_total: int
    memory_used: int
    disk_percent: float
    disk_free: int
    load_average: float
    at: float
    slowdown: int = 1


class Load:
    """Keeps the newest sample."""

    def __init__(self, data_dir: Path, limits: Limits) -> None:
        """Take the first sample, of the disk that holds ``data_dir``."""
        self._data_dir = data_dir
        self._pace = Pace(limits, os.cpu_count() or 1)
        self._latest = self._sample(psutil.cpu_percent(interval=None))

    def latest(self) -> LoadReading:
        """Give the newest sample."""
        return self._latest

    def run(self, stop: threading.Event) -> None:
        """Sample until told to stop."""
        while not stop.wait(INTERVAL_S):
            # Here, not beside: psutil compares with the last call of the same thread.
            cpu_percent = psutil.cpu_percent(interval=None)
            self.take(runtime.offload(self._sample, cpu_percent))

    def take(self, sample: LoadReading) -> None:
        """Keep a sample, with what follows from it and those before."""
        before = self._pace.slowdown
        self._pace.take(sample.cpu_percent, sample.load_average)
        slowdown = self._pace.slowdown
        if slowdown != before:
            logger.info(
                "the machine is %s (CPU %.0f %%, load average %.1f): pages are updated and cards "
                "looked at %s",
                "busy" if slowdown > 1 else "no longer busy",
                sample.cpu_percent,
                sample.load_average,
                f"{slowdown} times more rarely" if slowdown > 1 else "at full speed",
            )
        self._latest = replace(sample, slowdown=slowdown)

    def slowdown(self) -> int:
        """How many times more rarely than at rest the cards are looked at; 1 at rest."""
        return self._latest.slowdown

    def _sample(self, cpu_percent: float) -> LoadReading:
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(self._data_dir))
        return LoadReading(
            cpu_percent=cpu_percent,
            memory_percent=memory.percent,
            memory_total=memory.total,
            memory_used=memory.total - memory.available,
            disk_percent=disk.percent,
            disk_free=disk.free,
            load_average=os.getloadavg()[0],
            at=time.time(),
        )
