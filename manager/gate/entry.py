"""What stands between a link and the workspace where the browser was last somebody else's.

ComfyUI keeps drafts in the browser, for each address; a port, and with it the address, passes from
user to user. So the gate remembers in a cookie for whom it last opened in this browser, by a mark
that names nobody, and has a page of its own clear the rest away when that was another one. Pure
but for ``read``, which gives the texts that come with the program.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from string import Template

from manager.gate.pages import Pages

MARK_LENGTH = 32


def mark(key: str, owner: int) -> str:
    """Give the mark of a user, by id: the same for as long as ``key`` is, and no other's."""
    digest = hmac.new(key.encode(), f"owner:{owner}".encode(), hashlib.sha256)
    return digest.hexdigest()[:MARK_LENGTH]


def read(folder: Path, pages: Pages) -> str:
    """Write the snippets for Caddy, with the hashes of script and style for the page's policy."""

    def text(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8").rstrip("\n")

    script = text("entry.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template((folder / "entry.caddyfile").read_text(encoding="utf-8")).substitute(
        script_hash=f"sha256-{digest}",
        style_hash=pages.style_hash,
        page=_indent(_page(text("entry.html"), script, pages), 4),
        tab=_indent(text("tab.js"), 3),
    )


def _page(html: str, script: str, pages: Pages) -> str:
    return Template(html).substitute(script=script, style=pages.style, icon=pages.icon_url)


def _indent(text: str, tabs: int) -> str:
    # An empty line stays empty: Caddy takes the white space off only where there is some.
    return "\n".join("\t" * tabs + line if line else "" for line in text.splitlines())
