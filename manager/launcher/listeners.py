"""Who listens on a port of this host, by /proc/net/tcp and /proc/PID/fd (proc(5)).

A port that answers proves nothing: a left-over server, or another user's, may have it. All of this
reads /proc: call through ``runtime.offload``.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from pathlib import Path

from manager.launcher.processes import PROC

_TABLES = ("net/tcp", "net/tcp6")
_LISTEN = "0A"


def _as_printed(address: str) -> str:
    """Write an address as the kernel does: 32-bit words in the machine's own byte order."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


LOOPBACK = "127.0.0.1"


def _reached_by(host: str) -> frozenset[str]:
    """Give the local addresses that a connection to ``host``, a number, can reach."""
    if ":" in host:
        return frozenset(map(_as_printed, (host, "::")))
    return frozenset(map(_as_printed, (host, "0.0.0.0", "::", f"::ffff:{host}")))  # noqa: S104


def parse_listeners(table: str, port: int, host: str = LOOPBACK) -> set[int]:
    """Read the inodes of sockets listening on ``host``:``port`` from one table's text."""
    inodes, reached = set(), _reached_by(host)
    for line in table.splitlines()[1:]:
        words = line.split()
        address, _, number = words[1].partition(":")
        if words[3] == _LISTEN and int(number, 16) == port and address in reached:
            inodes.add(int(words[9]))
    return inodes


def listening_inodes(port: int, host: str = LOOPBACK) -> set[int]:
    """List the inodes of sockets that a connection to ``host``:``port`` may reach.

    Raises:
        OSError: the kernel's table cannot be read, or the host is no number.
    """
    found: set[int] = set()
    for name in _TABLES:
        path = PROC / name
        # A host without IPv6 has no tcp6.
        if name == _TABLES[0] or path.exists():
            found |= parse_listeners(path.read_text(encoding="ascii"), port, host)
    return found


def held_inodes(pids: Iterable[int], wanted: set[int]) -> set[int]:
    """Say which of the sockets are held by these processes.

    Raises:
        PermissionError: a process's descriptors cannot be read, so nobody can tell.
    """
    links = {f"socket:[{inode}]": inode for inode in wanted}
    held: set[int] = set()
    for pid in pids:
        for entry in _descriptors(PROC / str(pid) / "fd"):
            inode = links.get(entry)
            if inode is not None:
                held.add(inode)
        if held == wanted:
            break
    return held


def _descriptors(folder: Path) -> list[str]:
    try:
        entries = list(folder.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [link for link in map(_read_link, entries) if link]


def _read_link(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except (FileNotFoundError, ProcessLookupError):
        return ""
