"""The device nodes of cards: which belongs to one card alone, and what opens them."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

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


def any_of(kind: str) -> Path | None:
    """Stand for the device node of a card elsewhere, which its engine chose; None without such."""
    pattern = NODES.get(kind)
    return Path(pattern.format("N")) if pattern else None


def node(kind: str, device: int) -> Path | None:
    """Name a card's device node; None for kinds without one of its own, or where it is missing."""
    pattern = NODES.get(kind)
    path = Path(pattern.format(device)) if pattern else None
    return path if path is not None and path.exists() else None
