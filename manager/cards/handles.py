"""Who has a card's device node open, by /proc/PID/fd (proc(5)).

Walks the whole of /proc: call through ``runtime.offload``. Nothing here decides whose a process is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")

NODES = {"ascend": "/dev/davinci{}", "cuda": "/dev/nvidia{}"}
"""The node of one card, by kind (Ascend: "Docker: device mounting" of the CANN documentation;
CUDA: README of the Linux driver, "nvidia-modprobe"). ROCm's /dev/dri/renderD* do not follow the
runtime's numbers one to one, so nothing is said of them."""


ALL_NODES = {
    "ascend": ("davinci[0-9]*", "davinci_manager", "devmm_svm", "hisi_hdc"),
    "cuda": ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset"),
    "rocm": ("kfd", "dri/renderD*"),
}
"""What a runtime opens to use any card, by kind; sources as for ``NODES`` and the ROCm
documentation, "Running ROCm Docker containers"."""


def all_nodes(kind: str, devices: Path = Path("/dev")) -> tuple[Path, ...]:
    """List the nodes there are of a kind of card."""
    return tuple(path for name in ALL_NODES.get(kind, ()) for path in sorted(devices.glob(name)))


def groups(nodes: Iterable[Path]) -> tuple[int, ...]:
    """List the groups an account must be in to open these nodes."""
    found = set()
    for path in nodes:
        try:
            status = path.stat()
        except OSError:
            continue
        open_to_all = status.st_mode & 0o006 == 0o006
        if not open_to_all and status.st_mode & stat.S_IRGRP and status.st_gid != 0:
            found.add(status.st_gid)
    return tuple(sorted(found))


def node(kind: str, device: int) -> Path | None:
    """Name a card's device node; None for kinds without one of its own, or where it is missing."""
    pattern = NODES.get(kind)
    path = Path(pattern.format(device)) if pattern else None
    return path if path is not None and path.exists() else None


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
