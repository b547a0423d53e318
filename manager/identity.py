"""Which process is meant: a pid alone is not enough, because the kernel gives it away again.

Owns the triple of pid, start time and boot, how it is stored, and the one way to signal it without
hitting a stranger. Starts nothing and decides nothing; read by ``launcher`` and ``gate``.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

_DEAD = frozenset("ZX")
"""Letters of ``/proc/<pid>/stat`` for a process that has ended: zombie, dead."""


@dataclass(frozen=True)
class Identity:
    """One process for good. ``start_ticks`` is field 22 of ``/proc/<pid>/stat`` (proc(5))."""

    pid: int
    start_ticks: int
    boot_id: str

    def to_dict(self) -> dict[str, object]:
        """Give what is written into a record, as JSON can hold it."""
        return asdict(self)


def from_dict(record: Mapping[str, object]) -> Identity | None:
    """Read an identity back from a record; None when it is not one."""
    pid, ticks, boot = (record.get(name) for name in ("pid", "start_ticks", "boot_id"))
    if not (type(pid) is int and type(ticks) is int and isinstance(boot, str)):
        return None
    return Identity(pid, ticks, boot) if pid > 0 else None


@cache
def boot_id() -> str:
    """Name this boot of the machine; a record of another one describes nothing that lives."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read(pid: int) -> Identity | None:
    """Identify a living process; None when there is none or it only waits to be reaped."""
    found = read_state(pid)
    return found[0] if found else None


def read_state(pid: int) -> tuple[Identity, str] | None:
    """Identify a living process and give the letter of its state, proc_pid_stat(5)."""
    try:
        # Several for each instance and second: with a Path this takes twice as long.
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            stat = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The program's name stands in brackets and may itself hold brackets and spaces.
    fields = stat.rpartition(b")")[2].split()
    state = fields[0].decode("ascii")
    # The first thread of a dying program may be gone while others still hold its ports.
    if state in _DEAD and int(fields[17]) <= 1:
        return None
    return Identity(pid, int(fields[19]), boot_id()), state


def alive(identity: Identity) -> bool:
    """Tell whether exactly this process still runs."""
    return read(identity.pid) == identity


def send(identity: Identity, number: signal.Signals) -> bool:
    """Signal exactly this process; False when it has ended.

    The descriptor pins the process first, then it is identified: between the check and the signal
    the pid cannot come to mean another one. Kernels before Linux 5.3 have no such descriptor; the
    check right before the signal is then all there is.

    Raises:
        PermissionError: the process belongs to another user.
    """
    descriptor = pin(identity.pid)
    try:
        if not alive(identity):
            return False
        send_pinned(identity.pid, descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def pin(pid: int) -> int | None:
    """Open a descriptor (to be closed) for whoever has a number now; None where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        # No such process, which the caller finds out, or no such system call.
        return None


def send_pinned(pid: int, descriptor: int | None, number: signal.Signals) -> None:
    """Signal who was pinned; without a descriptor, who has the number.

    Raises:
        ProcessLookupError: that process has ended.
        PermissionError: it belongs to another user.
    """
    if descriptor is None:
        os.kill(pid, number)
    else:
        signal.pidfd_send_signal(descriptor, number)
