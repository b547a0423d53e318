"""Kills every process of an account; a program of its own, run by path as root and not imported.

    python -I -S killer.py UID SPARE

It becomes the account for a moment, and lets kill(2) with -1 end all others of it. As the
*effective* account alone: that is enough to signal them, while whom *they* may signal is told by
the real and the saved one, SPARE. So none of them can be faster.
"""

from __future__ import annotations

import os
import signal
import sys

KILLS = 20
SOON_S = 5
NOT_SAFE = 77
"""Exit code: nobody was killed, because more than that account would have been hit (EX_NOPERM)."""


def become(uid: int, spare: int) -> bool:
    """Take the account and lay down every right; tell whether that is all that is left."""
    os.setgroups([])
    os.setresgid(spare, spare, spare)
    os.setresuid(spare, uid, spare)
    # Bytes: this account may not be able to read the Python library that knows encodings.
    with open("/proc/self/status", "rb") as file:  # noqa: PTH123
        # With a capability left, kill(2) would take everybody for its own.
        powerless = b"CapEff:\t0000000000000000\n" in file.read()
    return powerless and os.getresuid() == (spare, uid, spare) and 0 not in (uid, spare)


def main(uid: int, spare: int) -> int:
    """Kill all of the account."""
    signal.alarm(SOON_S)
    if not become(uid, spare):
        return NOT_SAFE
    try:
        for _ in range(KILLS):
            os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        # All are gone, and collected too.
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
