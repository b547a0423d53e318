"""Which machine this is, and how others reach it; part of the program of a node."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manager.identity import boot_id, read

MACHINE = ("hostname", "machine", "pids")
"""What two programs on one machine have alike. ``pids`` is the space of process numbers: a number
out of another one says nothing, so a container is a machine of its own."""


def describe(hosts: Iterable[str], reach: str) -> dict[str, object]:
    """Say which machine, boot and process this is, and where it can listen.

    Args:
        hosts: names or numbers by which the machine may be reached, the best first.
        reach: a machine that must reach it, for finding out which way leads there; or empty.

    Raises:
        OSError: /proc cannot be read.
    """
    me = read(os.getpid())
    if me is None:
        raise OSError("/proc does not tell this process")
    return {
        **machine(),
        "boot_id": me.boot_id,
        "pid": me.pid,
        "start_ticks": me.start_ticks,
        "host": own_address(hosts, reach),
    }


def machine() -> dict[str, str]:
    """Say what tells this machine from others, for as long as nothing is said of its boots."""
    try:
        number = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        number = ""
    values = (socket.gethostname(), number, str(Path("/proc/self/ns/pid").readlink()))
    return dict(zip(MACHINE, values))  # noqa: B905 - Python 3.9


def is_here(claim: dict[str, Any]) -> bool:
    """Tell whether a claim was made on this machine, in this boot of it."""
    here = machine()
    same = all(claim.get(name) == here[name] for name in MACHINE)
    return same and claim.get("boot_id") == boot_id()


def was_here_before(claim: dict[str, Any]) -> bool:
    """Tell whether a claim was made on this machine in an earlier boot: nothing of it lives.

    Its name alone would not do, nor its number, which copies of one disk have alike: its address
    must be this machine's, too.
    """
    here, boot, host = machine(), claim.get("boot_id"), claim.get("host")
    same = all(claim.get(name) == here[name] for name in MACHINE[:2])
    other = isinstance(boot, str) and bool(boot) and boot != boot_id()
    return same and other and isinstance(host, str) and is_own(host)


def own_address(hosts: Iterable[str], reach: str) -> str:
    """Find the address to listen on, as a number; empty where none is found.

    A name may lead to the loopback on the machine itself (Debian's /etc/hosts has 127.0.1.1), so
    that is taken only where it was asked for as a number.
    """
    for host in hosts:
        if is_own(host):
            return host
        for number in _numbers(host):
            if not ipaddress.ip_address(number).is_loopback and is_own(number):
                return number
    number = _way_to(reach) if reach else ""
    return number if number and not ipaddress.ip_address(number).is_loopback else ""


def is_own(host: str) -> bool:
    """Tell whether an address, a number, is one of this machine's, and not all of them."""
    if not _is_number(host) or ipaddress.ip_address(host).is_unspecified:
        return False
    return _can_listen(host, 0)


def is_free(host: str, port: int) -> bool:
    """Tell whether a program can listen there now."""
    return _can_listen(host, port)


def free_port(host: str) -> int:
    """Give a port that is free now.

    Raises:
        OSError: there is none.
    """
    with socket.socket(_family(host)) as trial:
        trial.bind((host, 0))
        return int(trial.getsockname()[1])


def _can_listen(host: str, port: int) -> bool:
    try:
        with socket.socket(_family(host)) as trial:
            # As ComfyUI does: an earlier one's connections that are closing are in nobody's way.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
            trial.listen(1)
    except (OSError, OverflowError):
        return False
    return True


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _numbers(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return list(dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found))


def _way_to(host: str) -> str:
    """Ask the kernel from which address it would go there; nothing is sent."""
    for number in _numbers(host):
        try:
            with socket.socket(_family(number), socket.SOCK_DGRAM) as way:
                way.connect((number, 9))
                return str(way.getsockname()[0])
        except OSError:  # noqa: PERF203 - two at most
            continue
    return ""
