"""Which process is meant: pid, start ticks and boot id together, and signals that hit only it.

A bare pid is never an identity: the kernel uses numbers again. The start time is kept in ticks
since boot (field 22 of proc_pid_stat(5)), not as a clock time, which moves with the clock.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
DEAD_STATES = frozenset({"Z", "X", "x"})
"""A zombie holds nothing any more; in a container without an init it may stay for ever."""


@dataclass(frozen=True)
class Stat:
    """What is used of /proc/PID/stat."""

    pid: int
    state: str
    parent: int
    start_ticks: int


@dataclass(frozen=True)
class Identity:
    """One process of one boot."""

    pid: int
    start_ticks: int
    boot_id: str

    def alive(self) -> bool:
        """Tell whether this very process lives; a zombie does not."""
        stat = read_stat(self.pid)
        return (
            stat is not None
            and stat.state not in DEAD_STATES
            and stat.start_ticks == self.start_ticks
            and boot_id() == self.boot_id
        )

    def send(self, number: signal.Signals) -> bool:
        """Signal this very process.

        Returns:
            Whether it was there and the kernel let us.
        """
        handle = _open_handle(self.pid)
        try:
            # Looked at after the handle is open: from then on the number cannot change hands.
            if not self.alive():
                return False
            if handle is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
        except (ProcessLookupError, PermissionError):
            return False
        finally:
            if handle is not None:
                os.close(handle)
        return True


def boot_id() -> str:
    """Give this boot's id, random(4); empty where the kernel does not tell."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def read_stat(pid: int) -> Stat | None:
    """Read a process's state, parent and start; None when there is none."""
    try:
        # The name in parentheses may hold spaces and parentheses: split after the last one.
        words = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Stat(pid, words[0].decode("ascii"), int(words[1]), int(words[19]))


def identify(pid: int) -> Identity | None:
    """Take the identity of a process that lives now; None when it does not."""
    stat = read_stat(pid)
    if stat is None or stat.state in DEAD_STATES:
        return None
    return Identity(pid, stat.start_ticks, boot_id())


def from_record(record: Mapping[str, object], name: str) -> Identity | None:
    """Read ``{"boot_id": ..., name: [pid, start_ticks]}`` as the supervisor writes it."""
    pair, boot = record.get(name), record.get("boot_id")
    if not isinstance(pair, list) or len(pair) != 2 or not isinstance(boot, str):
        return None
    pid, ticks = pair
    # 0 and negative numbers mean groups and everybody to kill(2).
    if not isinstance(pid, int) or not isinstance(ticks, int) or pid <= 1:
        return None
    return Identity(pid, ticks, boot)


def _open_handle(pid: int) -> int | None:
    """Open a pidfd (Linux 5.3); None where there is none, or no such process."""
    if not hasattr(os, "pidfd_open") or not hasattr(signal, "pidfd_send_signal"):
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
