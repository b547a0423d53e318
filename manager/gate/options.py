"""What TLS needs in the first block of the Caddyfile, which is the operator's. Pure.

Caddy takes listeners' options from that block alone, so there is a second part of ours at its end:
the last word counts (https://caddyserver.com/docs/caddyfile/options). It is there only while TLS
is on. What the operator says of all servers is said again for ours, since Caddy takes for each the
options of its own address and no other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from manager.errors import GateFailed

BEGIN = "# >>> comfyui-manager tls: written by the manager while TLS is on"
END = "# <<< comfyui-manager tls"
_COMMENT = re.compile(r"(?:^|\s)#.*$")


@dataclass(frozen=True)
class Options:
    """``single``: lines of one word and its value; ``listeners``: address, and HTTP versions."""

    single: tuple[str, ...]
    listeners: tuple[tuple[str, str], ...]


def without(lines: Sequence[str]) -> list[str]:
    """Give the lines without our part."""
    kept: list[str] = []
    ours = False
    for line in lines:
        ours = ours or line.strip() == BEGIN
        if not ours:
            kept.append(line)
        ours = ours and line.strip() != END
    if ours:
        raise GateFailed(f"the Caddyfile has the line «{BEGIN}», but not «{END}»")
    return kept


def put(lines: Sequence[str], admin_line: str, options: Options) -> list[str]:
    """Give the lines with our part at the end of the block that ``admin_line`` is in.

    Raises:
        GateFailed: the block's end cannot be found.
    """
    told = [_COMMENT.sub("", line).strip() for line in lines]
    at = told.index(admin_line)
    begin = next((n for n in range(at, -1, -1) if told[n] == "{"), None)
    end = None if begin is None else _end(told, begin)
    if begin is None or end is None:
        raise GateFailed("the first block of the Caddyfile must begin with a line { and end with }")
    line_end = "\r\n" if lines[end].endswith("\r\n") else "\n"
    part = (f"\t{line}{line_end}" for line in _part(lines, told, begin, end, options))
    return [*lines[:end], *part, *lines[end:]]


def _end(told: Sequence[str], begin: int) -> int | None:
    """Find the line that closes the block which the line ``begin`` opens."""
    depth = 0
    for number in range(begin, len(told)):
        depth += (told[number].endswith("{")) - (told[number] == "}")
        if depth == 0:
            return number
    return None


def _part(
    lines: Sequence[str], told: Sequence[str], begin: int, end: int, options: Options
) -> list[str]:
    own = _own_servers(lines, told, begin, end)
    part = [BEGIN, *options.single]
    for address, protocols in options.listeners:
        part += [f"servers {address} {{", f"\tprotocols {protocols}", *own, "}"]
    return [*part, END]


def _own_servers(lines: Sequence[str], told: Sequence[str], begin: int, end: int) -> list[str]:
    """Give what the operator says of all servers, with our listener where he has none."""
    found: list[str] = []
    for number in range(begin, end):
        if told[number] == "servers {":
            last = _end(told, number) or end
            found = [
                line.rstrip()[1:] if line.startswith("\t\t") else f"\t{line.strip()}"
                for line, word in zip(
                    lines[number + 1 : last], told[number + 1 : last], strict=True
                )
                if not word.startswith("protocols ")
            ]
    if not any(line.strip().startswith("listener_wrappers") for line in found):
        found += ["\tlistener_wrappers {", "\t\thttp_redirect", "\t\ttls", "\t}"]
    return found
