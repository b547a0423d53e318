"""Who listens on a port of this host, by the kernel's own list and /proc/PID/fd (proc(5)).

A port that answers proves nothing: a left-over server, or another user's, may have it. All of this
reads /proc: call through ``runtime.offload``.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from manager.launcher import sock_diag
from manager.launcher.processes import PROC

_TABLES = ("net/tcp", "net/tcp6")
_LISTEN = "0A"


def _packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def _as_printed(address: str) -> str:
    """Write an address as /proc does: 32-bit words in the machine's own byte order."""
    packed = _packed(address)
    words = (packed[at : at + 4] for at in range(0, len(packed), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


LOOPBACK = "127.0.0.1"


def _reached_by(host: str) -> tuple[str, ...]:
    """Give the local addresses that a connection to ``host``, a number, can reach."""
    if ":" in host:
        return (host, "::")
    return (host, "0.0.0.0", "::", f"::ffff:{host}")  # noqa: S104 - compared


@lru_cache(maxsize=64)
def _printed(host: str) -> frozenset[str]:
    return frozenset(map(_as_printed, _reached_by(host)))


@lru_cache(maxsize=64)
def _packed_all(host: str) -> frozenset[bytes]:
    return frozenset(map(_packed, _reached_by(host)))


def parse_listeners(table: str, port: int, host: str = LOOPBACK) -> set[int]:
    """Read the inodes of sockets listening on ``host``:``port`` from one table's text."""
    inodes, reached = set(), _printed(host)
    for line in table.splitlines()[1:]:
        words = line.split()
        address, _, number = words[1].partition(":")
        if words[3] == _LISTEN and int(number, 16) == port and address in reached:
            inodes.add(int(words[9]))
    return inodes


def listening_inodes(port: int, host: str = LOOPBACK) -> set[int]:
    """List the inodes of sockets that a connection to ``host``:``port`` may reach.

    Raises:
        OSError: the kernel does not say, or the host is no number.
    """
    reached = _packed_all(host)
    try:
        return {
            inode
            for family in (socket.AF_INET, socket.AF_INET6)
            for address, inode in sock_diag.listeners(family, port)
            if address in reached
        }
    except OSError:
        # A kernel without that module, or without IPv6.
        return listed_inodes(port, host)


def listed_inodes(port: int, host: str = LOOPBACK) -> set[int]:
    """Like ``listening_inodes``, read from the tables of all connections.

    Raises:
        OSError: they cannot be read.
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
