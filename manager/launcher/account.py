"""Ending everything that runs under a launch's own account, and telling who does.

The kernel itself ends all processes of an account at once when one of that account asks for it,
kill(2) with -1: none can fork away from that, whatever it dropped or became. So a process of our
own (``killer.py``) takes the account for a moment. That is only for accounts out of the manager's
own range, and only where no other launch has the account.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from manager.launcher import helper

PROC = Path("/proc")
BASE = 2_001_000_000
"""Where the range begins unless told otherwise: above what systems and directories hand out."""

COUNT = 1_000_000
"""So many accounts follow the first one, which is never given to anybody."""

MOST_ROUNDS = 3
_KILLER = str(Path(__file__).with_name("killer.py"))


def accounts(base: int) -> range:
    """Give the range of accounts that is the manager's to hand out, from ``base`` + 1 on."""
    return range(base + 1, min(base + COUNT, 2**32 - 2))


def is_ours(uid: object, ours: range) -> bool:
    """Tell whether all of an account's processes may be ended."""
    return type(uid) is int and uid in ours and uid not in (0, os.geteuid(), os.getuid())


def uids_of(pid: int) -> frozenset[int]:
    """Give the accounts a living process has: real, effective, saved, of files; proc(5).

    Unlike the owner of its folder in /proc it cannot hide these. Empty when it has ended.
    """
    try:
        lines = (PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return frozenset()
    said = dict(line.split(":\t", 1) for line in lines.splitlines() if ":\t" in line)
    # The first thread of a dying program may be gone while others go on.
    if said["State"][0] in "ZX" and int(said["Threads"]) <= 1:
        return frozenset()
    return frozenset(map(int, said["Uid"].split()))


def members(uid: int) -> list[int]:
    """List who runs under an account; walks the whole of /proc.

    Raises:
        OSError: /proc cannot be listed.
    """
    pids = [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]
    return sorted(pid for pid in pids if uid in uids_of(pid))


def anybody(accounts: range) -> bool:
    """Tell whether anything runs under one of these accounts; walks the whole of /proc.

    Raises:
        OSError: /proc cannot be listed.
    """
    pids = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())
    return any(uid in accounts for pid in pids for uid in uids_of(pid))


def end(uid: int, ours: range) -> bool:
    """Kill all processes of an account that is our own; call through ``runtime.offload``.

    Returns:
        Whether nobody is left. Who waits for a device ends when that answers.

    Raises:
        ValueError: the account is not out of our range, or the manager's, or root.
        OSError: nobody can tell.
    """
    if not is_ours(uid, ours):
        raise ValueError(f"account {uid} is not the manager's to end")
    for _ in range(MOST_ROUNDS):
        if not members(uid):
            return True
        helper.run(_KILLER, str(uid), str(_spare(uid, ours)))
    return not members(uid)


def _spare(uid: int, ours: range) -> int:
    """Choose an account that nobody has, for what the short-lived process need not be."""
    spare = ours.start - 1
    try:
        pwd.getpwuid(spare)
    except KeyError:
        if spare > 0 and not members(spare):
            return spare
    # A person's, where the operator let the range begin among people.
    return uid
