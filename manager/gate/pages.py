"""The gate's own pages, for whoever opens a workspace that is not open for him.

Owns their look, which is the manager's, and takes their words from ``locales/``. Caddy serves them
out of its own configuration: they must be there when no manager runs, and need no file beside them.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import quote

from manager.settings import ROOT

KINDS = ("closed", "denied", "ended", "silent", "entry", "restarting")
"""What there is to say: no key was shown; a link that does not open; a cookie that opened once; the
gate is open for this visitor, but nothing answers behind it; the browser is being cleared first;
the manager itself is not there."""

LAST_WORDS = {"entry": "gate.entry.no_script", "restarting": "gate.restarting.again"}
"""What a page says at its end, if that is not the way back."""

LANGUAGES = {"en": "en", "zh_CN": "zh-CN"}
"""Catalogue and what ``lang`` calls it."""

CHINESE_FIRST = r"(?i)^(?:\s*(?:[^ez,\s][^,]*|e(?:[^n,][^,]*)?|z(?:[^h,][^,]*)?)?,)*\s*zh"
"""Matches an Accept-Language that names Chinese, and English not before it. Browsers put first what
they like best (RFC 9110, 12.5.4), and Caddy's expressions cannot look ahead."""


@dataclass(frozen=True)
class Pages:
    """Parts of the Caddyfile.

    The page with room for ``$manager_port``, the style that all pages share with its hash for the
    CSP, the icon's URL, and the words, a line for each page and language.
    """

    page: str
    style: str
    style_hash: str
    icon_url: str
    words: str


def read_pages(folder: Path) -> Pages:
    """Put the pages together from the texts in ``folder``, the icon and the catalogues."""
    style = (folder / "page.css").read_text(encoding="utf-8").rstrip("\n")
    page = (folder / "page.html").read_text(encoding="utf-8").rstrip("\n")
    icon = re.sub(r">\s+<", "><", (ROOT / "static" / "favicon.svg").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    icon_url = f"data:image/svg+xml,{quote(icon.strip())}"
    return Pages(
        page=Template(page).safe_substitute(style=style, icon=icon_url),
        style=style,
        style_hash=f"sha256-{digest}",
        icon_url=icon_url,
        words="\n".join(_lines()),
    )


def _lines() -> list[str]:
    """Write for each page and language: its key, title, text and link, as Caddy quotes them."""
    lines = []
    for language, tag in LANGUAGES.items():
        path = ROOT / "locales" / f"{language}.json"
        words: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
        for kind in KINDS:
            keys = (
                f"gate.{kind}.title",
                f"gate.{kind}.text",
                LAST_WORDS.get(kind, "gate.back"),
            )
            quoted = (f"`{html.escape(words[key])}`" for key in keys)
            lines.append(" ".join((f"{kind}-{tag}", *quoted)))
    return lines
