"""Landlock: rules about files, ports and signals that a process puts upon itself, for good.

No account, namespace or configuration is needed, only Linux 5.13 with Landlock switched on. The
rules hold for every descendant too. Numbers and structures are those of the kernel's documentation,
docs.kernel.org/userspace-api/landlock.html, where "ABI" is the version of what a kernel offers.

Stands alone (Python 3.9, nothing but the standard library): it also runs within a sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Union

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls, the same on x86-64 and on AArch64."""

ASK_ABI = 1
PATH_BENEATH, NET_PORT = 1, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK = 1 << 6, 1 << 11
OF_THE_FIRST_ABI = (1 << 13) - 1
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
BIND_TCP = 1 << 0
SCOPE_SIGNAL = 1 << 1

EVERYTHING = OF_THE_FIRST_ABI | REFER | TRUNCATE | IOCTL_DEV
TO_READ = EXECUTE | READ_FILE | READ_DIR
TO_WRITE = EVERYTHING & ~(MAKE_CHAR | MAKE_BLOCK)
TO_USE_DEVICES = READ_FILE | WRITE_FILE | READ_DIR | IOCTL_DEV
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The rights that a rule on something other than a directory may speak of."""

ALWAYS_READABLE = ("/proc",)
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where POSIX shared memory and semaphores are
"""Written to wherever devices may be used: a program is hard to run without it."""

Word = Union[int, bytes, None]  # noqa: UP007 - evaluated, and Python 3.9 knows no other way


def abi() -> int:
    """Give the version of Landlock that this kernel offers; 0 where there is none."""
    try:
        return _call(CREATE_RULESET, None, 0, ASK_ABI)
    except OSError:
        return 0


def rules(wanted: Mapping[str, Any]) -> int:
    """Make a set of rules, which holds for nobody yet; what it does not allow it will forbid.

    Args:
        wanted: ``readable`` (read and run), ``writable`` (all but making device nodes) and
            ``devices`` (use what is there, make nothing) are lists of paths, each with all that is
            below. What does not exist, or cannot be reached, is passed over. ``bind_ports``: the
            only TCP ports to listen on, 0 for any that the kernel chooses (ABI 4). Signals stay
            within (ABI 6).

    Returns:
        The open descriptor of the rules.

    Raises:
        OSError: the kernel has no Landlock or refuses.
    """
    version = abi()
    if version < 1:
        raise OSError(errno.EOPNOTSUPP, "this kernel does not offer it")
    files = handled(version)
    ports = BIND_TCP if version >= 4 and "bind_ports" in wanted else 0
    scope = SCOPE_SIGNAL if version >= 6 else 0
    # A kernel that knows a shorter structure takes the longer one if the rest of it is zero.
    attributes = struct.pack("=QQQ", files, ports, scope)
    made = _call(CREATE_RULESET, attributes, len(attributes), 0)
    devices = list(wanted.get("devices", ()))
    writable = [*wanted.get("writable", ()), *([SHARED_MEMORY] if devices else ())]
    for paths, rights in (
        (writable, TO_WRITE),
        (devices, TO_USE_DEVICES),
        ([*ALWAYS_READABLE, *wanted.get("readable", ())], TO_READ),
    ):
        for path in paths:
            if not is_below(path, writable):
                _allow(made, path, rights & files)
    for port in wanted.get("bind_ports", ()) if ports else ():
        _call(ADD_RULE, made, NET_PORT, struct.pack("=QQ", BIND_TCP, port), 0)
    return made


def enforce(made: int) -> None:
    """Put the rules upon this process, which must have no_new_privs set.

    Raises:
        OSError: the kernel refused.
    """
    _call(RESTRICT_SELF, made, 0)
    os.close(made)


def handled(version: int) -> int:
    """Give the rights on files that an ABI knows."""
    newer = (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    return OF_THE_FIRST_ABI | newer | (IOCTL_DEV if version >= 5 else 0)


def is_below(path: str, others: Sequence[str]) -> bool:
    """Tell whether a path lies below another one, by its words alone.

    What is below a writable directory is allowed already, and must not be looked up: whoever may
    write there could have put a link to somewhere else in its place.
    """
    return any(path.startswith(other.rstrip("/") + "/") for other in others)


def _allow(made: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= OF_A_FILE
        _call(ADD_RULE, made, PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _call(number: int, *words: Word) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    plain = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    result = int(libc.syscall(ctypes.c_long(number), *plain))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result
