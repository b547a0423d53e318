"""Whose the processes are that a card's tool names. Reads /proc: call through ``runtime.offload``.

A tool prints the numbers that the host counts by. In a container these name other processes or
none, so they are not looked up there; the newest npu-smi gives the container's own number too.
"""

from __future__ import annotations

import pwd
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from manager.cards.reading import CardProcess

PROC = Path("/proc")

_HOST_NAMESPACE = 0xEFFFFFFC
"""Inode of the first process namespace (PROC_PID_INIT_INO in Linux' include/linux/proc_ns.h)."""


def on_host() -> bool:
    """Tell whether processes are numbered here as on the host; no where nobody can tell."""
    try:
        return (PROC / "self" / "ns" / "pid").stat().st_ino == _HOST_NAMESPACE
    except OSError:
        return False


def named(processes: Iterable[CardProcess], *, host: bool) -> tuple[CardProcess, ...]:
    """Give processes the number they have here and the account they run under.

    On the host, one that is not there any more is left out: drivers go on listing processes whose
    end they missed. In a container one without a number of its own stays, as somebody's.
    """
    found = []
    for one in processes:
        pid = one.pid if host else one.inside
        owner = _owner(pid) if pid is not None else ""
        if owner is not None:
            found.append(replace(one, pid=pid, owner=owner))
        elif not host:
            found.append(replace(one, pid=None))
    return tuple(found)


def _owner(pid: int) -> str | None:
    """Name the account of a process; None when there is no such process."""
    try:
        lines = (PROC / str(pid) / "status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    # A zombie computes nothing, but the driver may not have let go of its memory: it is kept.
    uid = next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), None)
    if uid is None:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
