"""A range of accounts for each manager of the tests: two that are root must not share any."""

from __future__ import annotations

import fcntl
import os
import tempfile
import weakref
from pathlib import Path

from manager.launcher import account, ranges

FIRST = 2_100_000_000
APART = 2 * account.COUNT
"""With room between them, for tests of ranges that meet."""

RANGES = 900
NOBODYS = Path("/nonexistent")
"""No manager's data directory."""


class OwnRange:
    """One that nobody else has, of this test run or of another, for as long as this is kept."""

    def __init__(self) -> None:
        """Take the first free one."""
        folder = Path(tempfile.gettempdir()) / f"comfyui-manager-tests-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        for number in range(RANGES):
            file = os.open(folder / str(number), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            base = FIRST + number * APART
            if _lock(file) and not _left_over(base):
                weakref.finalize(self, os.close, file)
                self.base = base
                return
            os.close(file)
        raise AssertionError("no range of accounts is free")


def _left_over(base: int) -> bool:
    """Tell whether a manager has it that outlived its test run, which somebody killed."""
    return os.geteuid() == 0 and bool(ranges.taken(base, NOBODYS, note=False))


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
