"""A short-lived Python of our own, started and waited for inside ``runtime.offload``.

By system calls that no runtime replaces: ``subprocess`` would wait as if it were in the thread of
the green loop. It gets no environment, no site-packages and nowhere to write to; nobody ends it
but itself, so its first deed is to set an alarm.
"""

from __future__ import annotations

import os
import signal
import sys


def run(*words: str) -> int:
    """Run Python with these words and wait for it.

    Returns:
        Its exit code, negative for a signal.

    Raises:
        OSError: it could not be started.
    """
    nothing = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", *words],
        {},
        file_actions=nothing,
        setsigmask=(),
        setsigdef=(signal.SIGALRM,),
    )
    ended = os.waitid(os.P_PID, pid, os.WEXITED)
    if ended is None or ended.si_code != os.CLD_EXITED:
        return -(ended.si_status if ended else 0)
    return ended.si_status
