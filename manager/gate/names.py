"""For which names and addresses the own authority makes certificates."""

from __future__ import annotations

import functools
import ipaddress
import socket
from collections.abc import Iterable

import psutil

from manager.networks import is_address

MOST = 32
"""Each is a certificate that Caddy keeps and renews."""

LOCAL = ("localhost", "127.0.0.1", "::1")


@functools.cache
def own_names(external: str) -> tuple[str, ...]:
    """List what visitors may call this machine, the likeliest first.

    ``external`` is the address of the links. Where it is an address that this machine does not
    have, as behind address translation, its own are left out: who comes by an address names none
    (RFC 6066, section 3), and would be shown the certificate of the one he arrives at.

    Asked once: an address that comes and goes must not make all gates be loaded anew. May wait for
    a name server: offload it.
    """
    addresses = _addresses()
    behind = is_address(external) and external not in addresses
    host = socket.gethostname()
    found = [external, *([] if behind else addresses), host, socket.getfqdn(), *LOCAL]
    return tuple(dict.fromkeys(name.lower() for name in found if _may_be_named(name)))[:MOST]


def _may_be_named(name: str) -> bool:
    if is_address(name):
        return True
    return bool(name) and name.isascii() and name.replace("-", "").replace(".", "").isalnum()


def _addresses() -> list[str]:
    """List the machine's addresses, the common kind first; not those of one link or loopback."""
    found = [one.address for many in psutil.net_if_addrs().values() for one in many]
    return [str(one) for one in sorted(_reachable(found), key=lambda one: one.version)]


def _reachable(
    texts: Iterable[str],
) -> Iterable[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    for text in texts:
        if is_address(text):
            one = ipaddress.ip_address(text)
            if not (one.is_loopback or one.is_link_local or one.is_unspecified):
                yield one
