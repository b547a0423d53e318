"""The managed part of the Caddyfile as text. Pure: no file, no clock, no Caddy.

Owns what a gate is, for Caddy: two sites a port, open for one token or closed for everybody. The
texts themselves stand in ``templates/``; the matchers in them are exact on purpose: Caddy's shorter
``query`` and ``header_regexp`` matchers let encoded names, repeated values and longer cookies pass
(https://caddyserver.com/docs/caddyfile/matchers).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from manager.errors import GateFailed
from manager.gate.opening import Opening
from manager.ports import PortRow
from manager.records import GUARD_HEADER, Address

BEGIN = "# >>> comfyui-manager"
END = "# <<< comfyui-manager"

_BEGIN_LINE = f"{BEGIN}: written by the manager; put your own sites above or below this part"
_TOKEN = re.compile(r"[A-Za-z0-9]{32}")


@dataclass(frozen=True)
class Templates:
    """The fixed texts: what all gates share, one gate open, one gate closed."""

    common: str
    open: str
    closed: str
    denied: str
    starting: str


@dataclass(frozen=True)
class Look:
    """What is the same for every gate. ``gate_host`` is the address to listen on."""

    gate_host: str
    manager_port: int
    cookie_secure: bool


def read_templates() -> Templates:
    """Read the texts that come with the program."""
    folder = Path(__file__).parent / "templates"

    def text(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    return Templates(
        common=text("common.caddyfile"),
        open=text("open.caddyfile"),
        closed=text("closed.caddyfile"),
        denied=text("denied.html").rstrip("\n"),
        starting=text("starting.html").rstrip("\n"),
    )


def render(
    rows: Sequence[PortRow],
    openings: Mapping[int, Opening],
    look: Look,
    templates: Templates,
    left_out: Mapping[int, str] | None = None,
) -> str:
    """Write the managed block, markers included.

    Args:
        rows: the port table.
        openings: for the open gates, by ComfyUI port.
        look: what all gates share.
        templates: the fixed texts.
        left_out: ComfyUI port to reason, for rows that cannot be served now.

    Raises:
        GateFailed: a port the table does not know, a token or secret that is not 32 letters and
            digits, or an upstream that is not an address without TLS.
    """
    check_openings(rows, openings)
    left_out = left_out or {}
    parts = [_BEGIN_LINE + "\n", _common(look, templates)]
    for row in rows:
        if row.port in left_out:
            parts.append(f"\n# {row.port}: not served\n")
        else:
            parts.append(_gate(row, openings.get(row.port), look, templates))
    parts.append(END + "\n")
    return "".join(parts)


def check_openings(rows: Sequence[PortRow], openings: Mapping[int, Opening]) -> None:
    """Refuse what must never reach the file; the sentences do not repeat the secrets.

    Raises:
        GateFailed: see ``render``.
    """
    known = {row.port for row in rows}
    for port, opening in openings.items():
        if port not in known:
            raise GateFailed(f"端口 {port}: PORTS has no such ComfyUI port", port=port)
        # An empty token would let everybody in; one with blanks or braces is Caddy syntax.
        if not _is_token(opening.token):
            raise GateFailed(f"端口 {port}: a token must be 32 letters and digits", port=port)
        if opening.secret is not None and not _is_token(opening.secret):
            raise GateFailed(f"端口 {port}: a secret must be 32 letters and digits", port=port)
        # What is no address could be Caddy syntax too.
        upstream: object = opening.upstream
        address = Address.parse(upstream) if isinstance(upstream, str) else None
        if address is None or address.scheme != "http":
            raise GateFailed(
                f"端口 {port}: a gate can serve http at host:port, not {opening.upstream!r}",
                port=port,
            )


def _is_token(text: object) -> bool:
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def is_everywhere(host: str) -> bool:
    """Tell whether ``host`` means all addresses of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _common(look: Look, templates: Templates) -> str:
    pages = {
        name: Template(text).substitute(manager_port=look.manager_port)
        for name, text in (("denied", templates.denied), ("starting", templates.starting))
    }
    return Template(templates.common).substitute(
        denied=_indent(pages["denied"], 3), starting=_indent(pages["starting"], 5)
    )


def _indent(text: str, tabs: int) -> str:
    # Caddy's heredoc takes off as much white space as stands before its closing word.
    return "\n".join("\t" * tabs + line for line in text.splitlines())


def _gate(row: PortRow, opening: Opening | None, look: Look, templates: Templates) -> str:
    values = {
        "port": row.port,
        "workspace_port": row.workspace_port,
        "external_port": row.external_port,
        "bind": "" if is_everywhere(look.gate_host) else f"\n\tbind {look.gate_host}",
    }
    if opening is None:
        return Template(templates.closed).substitute(values)
    secure = "; Secure" if look.cookie_secure else ""
    # Set, it takes the place of every such header that the visitor may have sent; see
    # https://caddyserver.com/docs/caddyfile/directives/reverse_proxy#headers
    header = f"{GUARD_HEADER} {opening.secret}" if opening.secret else f'-{GUARD_HEADER} ""'
    return Template(templates.open).substitute(
        values,
        upstream=opening.upstream,
        name=f"token_{row.port}",
        token=opening.token,
        header=header,
        secure=secure,
    )
