"""How Caddy names an address to listen on. Pure."""

from __future__ import annotations

import ipaddress


def is_everywhere(host: str) -> bool:
    """Tell whether ``host`` means all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def listener(host: str, port: int) -> str:
    """Write the listener that a site gets from its port and ``bind``."""
    if is_everywhere(host):
        return f":{port}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str) -> str:
    """Write the line that has a site listen on ``host`` alone; empty for all addresses."""
    return "" if is_everywhere(host) else f"\n\tbind {host}"
