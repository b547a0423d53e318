"""Machines without an accelerator: each card of the table is the same processor.

It has no memory of its own and nothing on it proves that it is free; that the processes of a launch
are gone is all there is.
"""

from __future__ import annotations

from pathlib import Path

import psutil

from manager.cards.reading import Reading

CPUINFO = Path("/proc/cpuinfo")


def read(devices: list[int]) -> list[Reading]:
    """Give the processor's name and use for each card; the first call of a thread says 0 %."""
    name, use = model(), psutil.cpu_percent(interval=None)
    return [Reading(device, name=name, utilisation=use) for device in devices]


def model() -> str:
    """Name the processor, as proc_cpuinfo(5) does; empty where it does not."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
