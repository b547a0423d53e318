"""The manager with a wall clock that somebody sets while it runs.

    python clocked.py OFFSET_FILE comfyui_manager.py COMMAND ...

OFFSET_FILE holds one double, the seconds by which ``time.time`` is wrong; whoever has it open may
change it at any moment, and the next reading is the new time. What only passes (``time.monotonic``)
stays as it is, as it does on a machine whose clock is set. Standard library alone: the program's
own imports must come in its own order.
"""

from __future__ import annotations

import mmap
import runpy
import struct
import sys
import time
from pathlib import Path

_DOUBLE = struct.Struct("d")


class Clock:
    """The file with the seconds by which a program's wall clock is wrong."""

    def __init__(self, path: Path) -> None:
        """Open it; a new one is right."""
        if not path.exists():
            path.write_bytes(_DOUBLE.pack(0.0))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), _DOUBLE.size)
        self.program = (sys.executable, __file__, str(path))

    @property
    def wrong_by(self) -> float:
        """Give the seconds."""
        return float(_DOUBLE.unpack_from(self._shared)[0])

    def set(self, seconds: float) -> None:
        """Set the clock to so many seconds from the right time."""
        _DOUBLE.pack_into(self._shared, 0, seconds)


def main(path: str, script: str) -> None:
    """Run the script by this clock."""
    clock, right = Clock(Path(path)), time.time
    time.time = lambda: right() + clock.wrong_by
    # As Python does for a script that it runs itself.
    sys.path[0] = str(Path(script).resolve().parent)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.argv = words[1:]
    main(words[0], words[1])
