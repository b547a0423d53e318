"""Ports for tests: of nobody else, neither of another test run nor of a connection under way.

The kernel gives outgoing connections ports from a range of its own (ip_local_port_range, from 32768
on), at any moment: one that was free there may be taken when a program is to listen on it.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from collections import deque
from pathlib import Path

FIRST, LAST = 12_000, 31_999
KEPT = 600
"""Of a test run's latest ports, which no other run is given."""


class _Book:
    """Who has which port, as locks on the bytes of a file that all test runs share."""

    def __init__(self) -> None:
        self._chance = random.SystemRandom()
        self._ours: deque[int] = deque()
        folder = Path(tempfile.gettempdir()) / f"comfyui-manager-tests-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        # One descriptor for good: a process loses all of its locks with the first that it closes.
        self._file = os.open(folder / "ports", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> int:
        """Give a port that is nobody's."""
        while True:
            port = self._chance.randint(FIRST, LAST)
            if port not in self._ours and self._lock(port):
                break
        self._ours.append(port)
        if len(self._ours) > KEPT:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._ours.popleft())
        return port

    def _lock(self, port: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                fcntl.lockf(self._file, fcntl.LOCK_UN, 1, port)
                return False
        return True


_books: list[_Book] = []


def free_ports(count: int) -> list[int]:
    """Give ports that nobody listens on or is about to; none repeats.

    They ascend, as a real table's do: of equal cards the lowest port is given out first, so a
    test knows which one a user without a port of their own gets.
    """
    if not _books:
        _books.append(_Book())
    return sorted(_books[0].take() for _ in range(count))


def free_port() -> int:
    """Give one port that nobody listens on."""
    return free_ports(1)[0]
