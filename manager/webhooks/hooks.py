"""Reads the webhooks out of their file (``WEBHOOKS_FILE``), which is for this account alone.

    [[hook]]
    kind = "dingtalk"                 # generic, slack, dingtalk, wecom or feishu
    url = "https://oapi.dingtalk.com/robot/send?access_token=…"
    secret = "SEC…"                   # where the robot asks for a signature
    name = "ops"                      # stands for the address on pages and in the log
    language = "zh_CN"                # else ALERT_LANGUAGE
    events = ["gate_down"]            # else ALERT_EVENTS

What is wrong is said without a value out of the file: each may be a secret.
"""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from manager.alerts import EVENTS
from manager.errors import SettingsError
from manager.settings import Settings

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - Python 3.10 only
    import tomli as tomllib

KINDS = ("generic", "slack", "dingtalk", "wecom", "feishu")
SIGNED = ("generic", "dingtalk", "feishu")
"""Those that know a secret for signing."""

LANGUAGES = ("en", "zh_CN")
MOST_HOOKS = 16
MOST_BYTES = 64 * 1024

_NAME = re.compile(r"[A-Za-z0-9._-]{1,40}", re.ASCII)
_WORDS = ("kind", "url", "secret", "name", "language")
_KEYS = {*_WORDS, "events"}


@dataclass(frozen=True)
class Hook:
    """One receiver. ``name`` is what people are shown of it."""

    name: str
    kind: str
    url: str = field(repr=False)
    secret: str = field(repr=False)
    language: str
    events: frozenset[str]


def read(settings: Settings) -> tuple[Hook, ...]:
    """Read the hooks; none where there is no file.

    Raises:
        SettingsError: the file is open to other accounts, or something in it is not allowed.
    """
    path = settings.webhooks_file
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise _refused(path, f"other accounts can read it: chmod 600 {path}")
            content = tomllib.loads(file.read(MOST_BYTES).decode())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise _refused(path, f"it cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        # What the parser says may quote what it found.
        raise _refused(path, "it is not valid TOML") from None
    tables = content.get("hook")
    if set(content) != {"hook"} or not isinstance(tables, list) or len(tables) > MOST_HOOKS:
        raise _refused(path, f"it holds [[hook]] and nothing else, at most {MOST_HOOKS} of them")
    hooks = tuple(_hook(path, settings, n, table) for n, table in enumerate(tables, 1))
    if len({hook.name for hook in hooks}) < len(hooks):
        raise _refused(path, "two hooks have the same name")
    return hooks


def _refused(path: Path, why: str) -> SettingsError:
    return SettingsError(f"WEBHOOKS_FILE = {path}: {why}")


def _hook(path: Path, settings: Settings, number: int, table: object) -> Hook:
    def need(right: bool, what: str) -> None:
        if not right:
            raise _refused(path, f"hook {number}: {what}")

    if not isinstance(table, Mapping) or not set(table) <= _KEYS:
        raise _refused(path, f"hook {number}: known are {', '.join(sorted(_KEYS))}")
    words = {name: table.get(name, "") for name in _WORDS}
    need(all(isinstance(word, str) for word in words.values()), "each is a text, but events")
    need(words["kind"] in KINDS, f"kind is one of {', '.join(KINDS)}")
    need(_is_address(words["url"]), "url is an address with http:// or https://")
    signs = words["kind"] in SIGNED or not words["secret"]
    need(signs, f"a {words['kind']} has no secret beside its url")
    name = words["name"] or f"{words['kind']}-{number}"
    need(_NAME.fullmatch(name) is not None, "name is letters, digits, dots and dashes, at most 40")
    language = words["language"] or settings.alert_language
    need(language in LANGUAGES, f"language is one of {', '.join(LANGUAGES)}")
    events = table.get("events", list(settings.alert_events))
    right = isinstance(events, list) and all(one in EVENTS for one in events)
    need(right, f"events is a list of {', '.join(EVENTS)}")
    return Hook(name, words["kind"], words["url"], words["secret"], language, frozenset(events))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isprintable()
    except ValueError:
        return False
