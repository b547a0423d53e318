"""What is an address, and whether it lies in one of some networks. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable


def is_address(text: str) -> bool:
    """Tell whether a text is one IP address, and nothing else."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def within(address: str | None, networks: Iterable[str]) -> bool:
    """Tell whether ``address`` lies in one of ``networks``; what is no address lies in none.

    An IPv4 visitor of a socket that listens for both is written as ``::ffff:10.0.0.1`` there.
    """
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in ipaddress.ip_network(network) for network in networks)


def within_or_unlimited(address: str | None, networks: Collection[str]) -> bool:
    """Tell whether ``address`` lies in one of ``networks``, or there are none to lie in."""
    return not networks or within(address, networks)
