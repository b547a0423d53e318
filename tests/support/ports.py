"""Ephemeral ports for tests."""

from __future__ import annotations

import socket


def free_ports(count: int) -> list[int]:
    """Give ports nobody listens on; all are held open until the last is found, so none repeats."""
    holders = [socket.socket() for _ in range(count)]
    try:
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [holder.getsockname()[1] for holder in holders]
    finally:
        for holder in holders:
            holder.close()


def free_port() -> int:
    """Give one port nobody listens on."""
    return free_ports(1)[0]
