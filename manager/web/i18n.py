"""Words in the reader's language.

``locales/<language>.json`` holds flat keys and sentences with ``{name}`` places. The language is
the visitor's choice (cookie) or else the browser's. The same catalogue goes to the page's scripts,
so no sentence stands in JavaScript.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from flask import Request, g, request

from manager.errors import ManagerError
from manager.settings import ROOT

COOKIE = "language"
LANGUAGES = {"zh_CN": "中文", "en": "English"}
"""Known languages with their own names, for the switch."""

HTML_LANG = {"zh_CN": "zh-CN", "en": "en"}
FOLDER = ROOT / "locales"

_PLACE = re.compile(r"\{([a-z_]+)\}")


@cache
def catalogue(language: str, folder: Path = FOLDER) -> Mapping[str, str]:
    """Read a language's sentences, once."""
    words: dict[str, str] = json.loads((folder / f"{language}.json").read_text(encoding="utf-8"))
    return words


def places(sentence: str) -> set[str]:
    """List the names a sentence leaves room for."""
    return set(_PLACE.findall(sentence))


def choose(asked: Request) -> str:
    """Choose the language: the visitor's cookie, else the first that the browser wants."""
    chosen = asked.cookies.get(COOKIE)
    if chosen in LANGUAGES:
        return chosen
    for wanted in asked.accept_languages.values():
        if wanted.lower().startswith("zh"):
            return "zh_CN"
        if wanted.lower().startswith("en"):
            return "en"
    return "en"


def language() -> str:
    """Give the language of the request under way."""
    if "language" not in g:
        g.language = choose(request)
    chosen: str = g.language
    return chosen


def translate(chosen: str, key: str, **params: object) -> str:
    """Give the sentence for ``key``; the key itself where there is none.

    A place without a value stays visible as ``{name}``.
    """
    sentence = catalogue(chosen).get(key, key)
    return _PLACE.sub(lambda found: str(params.get(found[1], found[0])), sentence)


def t(key: str, **params: object) -> str:
    """Translate for the request under way; what templates call."""
    return translate(language(), key, **params)


def error_text(error: ManagerError, chosen: str) -> str:
    """Say an error in the reader's language: its exact sentence, its kind's, or its own English.

    A sentence is passed over when the error does not carry everything it has room for.
    """
    words = catalogue(chosen)
    for key in (f"error.{error.key}", f"error.{error.code}"):
        if key in words and places(words[key]) <= set(error.params):
            return translate(chosen, key, **error.params)
    return error.message


def sentences(chosen: str, *starts: str) -> dict[str, str]:
    """Give a catalogue's keys that begin with one of ``starts``, for a page's scripts."""
    return {key: text for key, text in catalogue(chosen).items() if key.startswith(starts)}
