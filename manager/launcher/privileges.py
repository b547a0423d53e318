"""Capabilities and no_new_privs: giving up for good what an account of root's or a manager's has.

See capabilities(7) and prctl(2), where the numbers come from. Stands alone (Python 3.9, nothing but
the standard library): it also runs within a sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

PR_SET_KEEPCAPS, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_SECUREBITS = 8, 23, 24, 28
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 38, 39
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CAP_SETPCAP, MOST_CAPABILITIES = 8, 64
CAPABILITY_VERSION_3 = 0x20080522

SECUREBITS = 0b11101111
"""Account 0 is no exception, no change of account brings capabilities or keeps them, none becomes
ambient; all locked (NOROOT, NO_SETUID_FIXUP, KEEP_CAPS_LOCKED, NO_CAP_AMBIENT_RAISE)."""


def lock_capabilities() -> bool:
    """Take every capability out of what a program could ever get; must come before the account.

    Returns:
        False without CAP_SETPCAP, where nothing is done. There no_new_privs does the same: no
        program run later gets more than its caller had.

    Raises:
        OSError: the kernel refused.
    """
    if not int(status()["CapEff"], 16) >> CAP_SETPCAP & 1:
        return False
    for number in range(MOST_CAPABILITIES):
        try:
            _prctl(PR_CAPBSET_READ, number)
        except OSError:
            # The first that this kernel does not know.
            break
        _prctl(PR_CAPBSET_DROP, number)
    _prctl(PR_SET_KEEPCAPS, 0)
    _prctl(PR_SET_SECUREBITS, SECUREBITS)
    return True


def clear_capabilities(keep: int | None = None) -> None:
    """Give up every capability that this process has, but ``keep``; must come after the account.

    Raises:
        OSError: the kernel refused.
    """
    try:
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    except OSError as error:
        # Kernels before 4.3 have no ambient capabilities.
        if error.errno != errno.EINVAL:
            raise
    libc = ctypes.CDLL(None, use_errno=True)
    left = 0 if keep is None else 1 << keep
    # Effective, permitted and inheritable, twice 32 of them.
    sets = struct.pack("=6I", left, left, 0, 0, 0, 0)
    if libc.capset(struct.pack("=Ii", CAPABILITY_VERSION_3, 0), sets) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def gain_nothing_new() -> None:
    """Set no_new_privs: set-user-id and file capabilities mean nothing from here on.

    Raises:
        OSError: the kernel refused.
    """
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def not_given_up(uid: int | None, gids: Sequence[int], *, drop: bool, locked: bool) -> list[str]:
    """Ask the kernel what this process is, and name what is not as it should be.

    Args:
        uid: the account, whose group has the same number; None for whichever it was.
        gids: with a ``uid``, the additional groups.
        drop: whether no capability may be left and none come back.
        locked: what ``lock_capabilities`` said.

    Returns:
        Names as in /proc/PID/status; empty when all is well.

    Raises:
        OSError: it cannot be told.
    """
    own, left = status(), []
    if uid is not None:
        left += [name for name in ("Uid", "Gid") if own[name].split() != [str(uid)] * 4]
        left += ["Groups"] if {int(word) for word in own["Groups"].split()} != {*gids} else []
    if drop:
        names = ["CapInh", "CapPrm", "CapEff", "CapAmb", *(["CapBnd"] if locked else [])]
        left += [name for name in names if int(own.get(name, "0"), 16)]
        left += [] if _prctl(PR_GET_NO_NEW_PRIVS) == 1 else ["NoNewPrivs"]
    return left


def status() -> dict[str, str]:
    """Read this process's /proc/PID/status.

    Raises:
        OSError: it cannot be read.
    """
    with open("/proc/self/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
        lines = [line.partition(":") for line in file]
    return {name: value.strip() for name, _, value in lines}


def _prctl(option: int, value: int = 0) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.prctl(option, *(ctypes.c_ulong(word) for word in (value, 0, 0, 0))))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
