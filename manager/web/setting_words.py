"""What the settings mean, in the reader's language; the page and the documents share these words.

English stands beside each setting in the code, Chinese in ``locales/settings.zh_CN.json``.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from manager import settings
from manager.web.i18n import FOLDER


@cache
def chinese() -> dict[str, Any]:
    """Read the Chinese: ``help`` by setting, ``units``, ``allowed`` by pattern of the English."""
    text = (FOLDER / "settings.zh_CN.json").read_text(encoding="utf-8")
    words: dict[str, Any] = json.loads(text)
    return words


def describe(name: str, language: str) -> dict[str, str]:
    """Give a setting's help, unit and what is allowed in a language.

    Raises:
        LookupError: there is no Chinese for one of them.
    """
    about = settings.describe(name)
    if language != "zh_CN":
        return about
    words = chinese()
    return {
        "help": words["help"][name],
        "unit": words["units"][about["unit"]],
        "allowed": _allowed(about["allowed"]),
    }


def _allowed(text: str) -> str:
    for pattern, said in chinese()["allowed"].items():
        if re.fullmatch(pattern, text):
            return re.sub(pattern, said, text)
    raise LookupError(f"settings.zh_CN.json has no Chinese for {text!r}")
