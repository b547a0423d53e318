"""The managed part of the Caddyfile as text. Pure: no file, no clock, no Caddy.

Owns what a gate is, for Caddy: two sites a port, open for one token or closed for everybody. The
texts themselves stand in ``templates/``; the matchers in them are exact on purpose: Caddy's shorter
``query`` and ``header_regexp`` matchers let encoded names, repeated values and longer cookies pass
(https://caddyserver.com/docs/caddyfile/matchers).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from manager.errors import GateFailed
from manager.gate import entry, page
from manager.gate.address import bind
from manager.gate.opening import Opening
from manager.gate.pages import CHINESE_FIRST, Pages, read_pages
from manager.gate.tls import Tls
from manager.gate.use import UseLogs, log_lines
from manager.ports import PortRow
from manager.records import GUARD_HEADER, Address

BEGIN = "# >>> comfyui-manager"
END = "# <<< comfyui-manager"

_BEGIN_LINE = f"{BEGIN}: written by the manager; put your own sites above or below this part"
_TOKEN = re.compile(r"[A-Za-z0-9]{32}")


@dataclass(frozen=True)
class Templates:
    """The fixed texts: what all share, one gate open, the log of its use, one closed, the page.

    ``pinned`` is how an instance on another machine is reached.
    """

    common: str
    open: str
    use: str
    closed: str
    page: str
    pages: Pages
    entry: str
    pinned: str = ""


@dataclass(frozen=True)
class Look:
    """What is the same for every gate.

    ``gate_host`` is the address to listen on, ``mark_key`` makes the marks of users that no browser
    and no other server can make, ``use`` the logs of who uses the gates; None: not kept. ``tls``:
    how gates and page are served by HTTPS; None: gates speak HTTP, and the page is not Caddy's.
    ``manager_host`` is the address the page listens on then. ``authority`` is the certificate that
    instances reached by https are checked with.
    """

    gate_host: str
    manager_port: int
    cookie_secure: bool
    mark_key: str = field(default="", repr=False)
    use: UseLogs | None = None
    tls: Tls | None = None
    manager_host: str = ""
    authority: Path | None = None


def read_templates() -> Templates:
    """Read the texts that come with the program."""
    folder = Path(__file__).parent / "templates"

    def text(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8")

    pages = read_pages(folder)
    return Templates(
        common=text("common.caddyfile"),
        open=text("open.caddyfile"),
        use=text("use.caddyfile"),
        closed=text("closed.caddyfile"),
        page=text("page.caddyfile"),
        pages=pages,
        entry=entry.read(folder, pages),
        pinned=text("pinned.caddyfile"),
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
            digits, or an upstream that is no address, or one by https without its name.
    """
    check_openings(rows, openings)
    left_out = left_out or {}
    parts = [_BEGIN_LINE + "\n", _common(look, templates), _pinned(openings, look, templates)]
    parts.append(_own_page(look, templates))
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
        if address is None or not address.usable:
            raise GateFailed(
                f"端口 {port}: a gate can serve http at host:port, or https with the name of its "
                f"certificate, not {opening.upstream!r}",
                port=port,
            )


def _is_token(text: object) -> bool:
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def _common(look: Look, templates: Templates) -> str:
    pages = templates.pages
    page = Template(pages.page).substitute(manager_port=look.manager_port)
    common = Template(templates.common).substitute(
        style_hash=pages.style_hash,
        chinese_first=CHINESE_FIRST,
        words=_indent(pages.words, 2),
        page=_indent(page, 2),
    )
    return common + templates.entry


def _pinned(openings: Mapping[int, Opening], look: Look, templates: Templates) -> str:
    """Write how instances on other machines are reached, where one of them has its gate open."""
    addresses = (Address.parse(opening.upstream) for opening in openings.values())
    if not any(address is not None and address.pinned for address in addresses):
        return ""
    if look.authority is None:
        raise GateFailed("no authority is known for instances that are reached by https")
    return Template(templates.pinned).substitute(authority=look.authority)


def _own_page(look: Look, templates: Templates) -> str:
    """Write the manager's page as sites: one for any name, and one that asks for certificates."""
    tls = look.tls
    if tls is None:
        return ""
    snippet = Template(templates.page).substitute(
        bind=bind(look.manager_host),
        hsts=tls.hsts_s,
        socket=tls.socket,
        header=GUARD_HEADER,
        secret=page.secret_from(look.mark_key),
    )
    import_it = "\timport comfyui_own_page\n}\n"
    any_name = f"\nhttps://:{look.manager_port} {{{_certificate(tls)}\n{import_it}"
    if tls.pem is not None:
        return snippet + any_name
    names = ", ".join(f"https://{_host(name)}:{look.manager_port}" for name in tls.names)
    own = f"\n{names} {{\n\ttls {{\n\t\tissuer internal\n\t}}\n{import_it}"
    if tls.domain is None:
        return snippet + any_name + own
    # For its name at every port: gates are found by port alone, and share what there is.
    asks = f"\nhttps://{tls.domain.name}:{look.manager_port} {{\n{tls.domain.issuer()}{import_it}"
    return snippet + any_name + own + asks


def _tls_lines(tls: Tls) -> str:
    return f"{_certificate(tls)}\n\theader Strict-Transport-Security max-age={tls.hsts_s}"


def _certificate(tls: Tls) -> str:
    """Write the line of a site that names its certificate; the own authority's need none."""
    return f'\n\ttls "{tls.pem}" "{tls.pem}"' if tls.pem else ""


def _host(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _schemes(look: Look) -> tuple[str, ...]:
    return ("https",) if look.tls else ("http", "https")


def _indent(text: str, tabs: int) -> str:
    # Caddy's heredoc takes off as much white space as stands before its closing word.
    return "\n".join("\t" * tabs + line for line in text.splitlines())


def _proxy(upstream: str, header: str) -> str:
    """Name the snippet that leads to an instance, with its arguments."""
    address = Address.parse(upstream)
    if address is None or not address.pinned:
        return f"comfyui_proxy {upstream} {header}"
    return f"comfyui_proxy_tls https://{address.authority} {header} {address.name}"


def _gate(row: PortRow, opening: Opening | None, look: Look, templates: Templates) -> str:
    values = {
        "port": row.port,
        "workspace_port": row.workspace_port,
        "external_port": row.external_port,
        "bind": bind(look.gate_host),
        "scheme": "https" if look.tls else "http",
        "tls": _tls_lines(look.tls) if look.tls else "",
    }
    if opening is None:
        return Template(templates.closed).substitute(values)
    secure = "; Secure" if look.cookie_secure else ""
    # Set, it takes the place of every such header that the visitor may have sent; see
    # https://caddyserver.com/docs/caddyfile/directives/reverse_proxy#headers
    header = f"{GUARD_HEADER} {opening.secret}" if opening.secret else f'-{GUARD_HEADER} ""'
    return Template(templates.open).substitute(
        values,
        proxy=_proxy(opening.upstream, header),
        name=f"token_{row.port}",
        token=opening.token,
        secure=secure,
        # Behind a proxy it is not known how visitors come.
        origins=" ".join(f"{one}://{{http.request.hostport}}" for one in _schemes(look)),
        mark=entry.mark(look.mark_key, opening.owner),
        use=log_lines(look.use.path(row.port), templates.use) if look.use else "",
    )
