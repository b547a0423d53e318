"""The machine's CPU, memory and disk, sampled beside the work and never on request."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from manager import runtime

INTERVAL_S = 2.0


@dataclass(frozen=True)
class LoadReading:
    """One sample. Percentages are 0-100; sizes in bytes; ``at`` in UTC epoch seconds."""

    cpu_percent: float
    memory_percent: float
    memory_total: int
    memory_used: int
    disk_percent: float
    disk_free: int
    load_average: float
    at: float


class Load:
    """Keeps the newest sample."""

    def __init__(self, data_dir: Path) -> None:
        """Take the first sample, of the disk that holds ``data_dir``."""
        self._data_dir = data_dir
        self._latest = self._sample(psutil.cpu_percent(interval=None))

    def latest(self) -> LoadReading:
        """Give the newest sample."""
        return self._latest

    def run(self, stop: threading.Event) -> None:
        """Sample until told to stop."""
        while not stop.wait(INTERVAL_S):
            # Here, not beside: psutil compares with the last call of the same thread.
            cpu_percent = psutil.cpu_percent(interval=None)
            self._latest = runtime.offload(self._sample, cpu_percent)

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
