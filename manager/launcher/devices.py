"""Who has a card's device node open, by /proc/PID/fd (proc(5)).

Walks the whole of /proc: call through ``runtime.offload``. Nothing here decides whose a process is.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from manager.launcher.processes import PROC


def openers(path: Path) -> list[int]:
    """List the processes that have the device open, under whatever name.

    The device's number is compared, not the path. A process whose descriptors may not be read is
    left out: «cannot tell» is not «held».
    """
    try:
        wanted = path.stat()
        pids = [entry.name for entry in PROC.iterdir() if entry.name.isdigit()]
    except OSError:
        return []
    if not stat.S_ISCHR(wanted.st_mode):
        return []
    return [int(pid) for pid in pids if _has_open(pid, wanted.st_rdev)]


def _has_open(pid: str, device: int) -> bool:
    # os and not pathlib: tens of thousands of descriptors on a busy machine.
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return False
    for name in names:
        try:
            # Follows the link to the open file itself, also when its path is gone.
            found = os.stat(f"{folder}/{name}")  # noqa: PTH116
        except OSError:
            continue
        if stat.S_ISCHR(found.st_mode) and found.st_rdev == device:
            return True
    return False
