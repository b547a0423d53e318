"""Runs a program and everything it ever starts, to the end for certain; a program of its own.

    python -I reaper.py PROGRAM WORDS…

Each orphan below it becomes its child (Linux ``PR_SET_CHILD_SUBREAPER``, prctl(2)). When its
standard input ends, and that does when whoever began it is killed, it kills until the kernel says
that no child is left, and ends with 0. It does not end before, also when the program has.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def below() -> list[int]:
    """List the children; those of theirs come when their parents are gone."""
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(word) for word in text.split()]


def reap() -> bool:
    """Take the ended ones; tell whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def main(words: list[str]) -> int:
    """Run it and wait for the word to end all."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        return 71
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    given = sys.stdin.fileno()
    subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
    while not select.select([given], [], [], 0.2)[0] or os.read(given, 1):
        reap()
    while reap():
        for pid in below():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
