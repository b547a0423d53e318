"""Which of /dev an instance that runs as root may open: what any account may, and the cards.

Root owns the disks' nodes, and who reads those reads every file. Other accounts are kept from them
by the nodes' own modes. Looks at the disk and changes nothing.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

DEV = Path("/dev")
FOLDERS = ("pts", "dri", "nvidia-caps")
"""Terminals, and cards' nodes that have folders of their own."""

ALL = 0o006
"""Mode bits: other accounts may read and write."""


def for_root(cards: Iterable[Path], gids: Collection[int], devices: Path = DEV) -> list[str]:
    """List the nodes below ``devices`` open to all or to the cards' groups, and ``cards``.

    Never a block device: that is a disk.
    """
    found = [devices / name for name in FOLDERS]
    with os.scandir(devices) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            for_all = status.st_mode & ALL == ALL or status.st_gid in gids
            if stat.S_ISCHR(status.st_mode) and for_all:
                found.append(Path(entry.path))
    return sorted({str(path) for path in (*found, *cards) if path.exists()})
