"""The gate's pages before Caddy serves them: words, language, look."""

from __future__ import annotations

import re

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from manager.gate.pages import CHINESE_FIRST, KINDS, LANGUAGES, read_pages
from manager.settings import ROOT
from manager.web import i18n

FOLDER = ROOT / "manager" / "gate" / "templates"


@pytest.mark.parametrize(
    "header",
    [
        "zh-CN,zh;q=0.9,en;q=0.8",
        "zh",
        "ZH-tw",
        "de,zh;q=0.5",
        "fr-FR, eo;q=0.9, zh;q=0.5",
        "e,z,*;q=0.9,zh;q=0.1",
        ",zh",
        "en-GB,zh;q=0.5",
        "EN,zh",
        "de,en;q=0.9,zh;q=0.8",
        "fr",
        "xzh",
        "de;zh",
        "*",
        "",
    ],
)
def test_the_gate_chooses_the_language_as_the_manager_does(header: str) -> None:
    asked = Request(EnvironBuilder(headers=[("Accept-Language", header)]).get_environ())
    chinese = re.search(CHINESE_FIRST, header) is not None
    assert ("zh_CN" if chinese else "en") == i18n.choose(asked)


def test_each_page_has_its_words_in_each_language() -> None:
    lines = read_pages(FOLDER).words.splitlines()
    wanted = {f"{kind}-{tag}" for kind in KINDS for tag in i18n.HTML_LANG.values()}
    assert len(lines) == len(wanted)
    assert {line.split(" ", 1)[0] for line in lines} == wanted
    assert LANGUAGES == i18n.HTML_LANG


def test_words_are_text_and_no_part_of_the_configuration() -> None:
    for line in read_pages(FOLDER).words.splitlines():
        assert re.fullmatch(r"[a-zA-Z-]+( `[^`{}<>\"]+`){3}", line), line


def test_the_look_is_the_managers() -> None:
    """Each colour of the pages is one of the manager's tokens, in light and in dark."""
    own = (FOLDER / "page.css").read_text(encoding="utf-8")
    theirs = (ROOT / "static" / "css" / "base.css").read_text(encoding="utf-8")
    for scheme, token, colour in _tokens(own):
        name = "accent-hover" if token == "hover" else token
        assert (scheme, name, colour) in _tokens(theirs)


def _tokens(css: str) -> list[tuple[str, str, str]]:
    light, dark = css.split("@media (prefers-color-scheme: dark)", 1)
    found = []
    for scheme, text in (("light", light), ("dark", dark.split("*", 1)[0])):
        found += [
            (scheme, name, value)
            for name, value in re.findall(r"--([a-z-]+):\s*(#[0-9a-f]{6})", text)
        ]
    return found


def test_a_page_needs_no_other_file() -> None:
    page = read_pages(FOLDER).page
    assert set(re.findall(r'(?:src|href)="([a-z]*:?)', page)) == {"data:", ""}
    assert re.findall(r'href="(//[^"]*)"', page) == ["//{page_host}:$manager_port/"]
    assert "url(" not in page.replace("url%28%23g%29", "")
