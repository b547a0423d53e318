"""The settings in force for admins: each with its meaning and where its value came from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from manager import settings as settings_module
from manager.ports import PortRow, short
from manager.settings import Origin, Settings
from manager.web import i18n, setting_words
from manager.web.services import services

admin_settings = Blueprint("admin_settings", __name__)

View = dict[str, Any]

MASK = "••••••"
MOST_SOUGHT = 64

_SECRET = re.compile(
    r"(?i)(^|[_-])(secret|password|passwd|token|api[_-]?key|credentials?)s?($|[_-])"
)
"""Words in a setting's or a flag's name by which its value is a secret."""

_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+(?=@)")
"""A name and password in an address."""


def settings_view(settings: Settings, language: str) -> list[View]:
    """List all settings: value, default, where from, meaning; secrets are masked.

    ``changed`` tells whether the value is another than the default; ``default`` is then that.
    """
    defaults = settings_module.defaults()
    return [_setting_view(name, settings, defaults, language) for name in settings_module.names()]


def _setting_view(name: str, settings: Settings, defaults: Settings, language: str) -> View:
    value, default = getattr(settings, name.lower()), getattr(defaults, name.lower())
    origin = settings.origins.get(name, Origin())
    changed = origin.kind != "default" and value != default
    return {
        "name": name,
        "value": _shown(name, value),
        "default": _shown(name, default) if changed else None,
        "changed": changed,
        "from": origin.kind,
        "place": origin.place,
        "line": origin.line,
        **setting_words.describe(name, language),
    }


def _shown(name: str, value: object) -> str:
    """Write a value for people, without the secrets in it."""
    if value in ("", ()):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    # A number that limits secrets is none itself, nor is the place of a file with one, nor the word
    # for where one comes from.
    open_to_all = isinstance(value, int | float | Path) or settings_module.is_choice(name)
    if _SECRET.search(name) and not open_to_all:
        return MASK
    if isinstance(value, tuple):
        return " ".join(_words(value))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return _IN_ADDRESS.sub(MASK, text)


def _words(values: tuple[object, ...]) -> list[str]:
    """Write a list's entries; what follows a flag with a secret's name, or is joined to it, not."""
    shown: list[str] = []
    secret = False
    for value in values:
        if isinstance(value, PortRow):
            shown.append(short(value))
            continue
        flag, joined, _ = str(value).partition("=")
        is_flag = flag.startswith("-")
        if secret and not is_flag:
            shown.append(MASK)
        elif is_flag and joined and _SECRET.search(flag):
            shown.append(f"{flag}={MASK}")
        else:
            shown.append(_IN_ADDRESS.sub(MASK, str(value)))
        secret = is_flag and not joined and bool(_SECRET.search(flag))
    return shown


@admin_settings.get("/settings")
def page() -> ResponseReturnValue:
    """Show them all, or without a script those that have the words sought (``q``) in them."""
    sought = request.args.get("q", "").strip()[:MOST_SOUGHT]
    only_changed = request.args.get("changed") == "1"
    found = settings_view(services().manager.settings, i18n.language())
    return render_template(
        "settings.html",
        settings=[one | {"shown": fits(one, sought, only_changed)} for one in found],
        sought=sought,
        only_changed=only_changed,
    )


def fits(one: View, sought: str, only_changed: bool) -> bool:
    """Tell whether a setting has all the words sought in its name, value or meaning."""
    text = f"{one['name']} {one['value']} {one['help']}".lower()
    words = sought.lower().split()
    return (one["changed"] or not only_changed) and all(word in text for word in words)
