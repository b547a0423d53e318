"""How one setting's value is read and what it may be. Pure; used by ``settings`` alone.

``read`` takes what TOML or the environment holds and raises ``ValueError`` when it is not
allowed; ``allowed`` says in words what is.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from manager.comfyui_flags import explain, forbidden_flags

_HTTPS_URL = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?\Z")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}\Z")
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?\Z")


@dataclass(frozen=True)
class Origin:
    """Where a setting's value came from.

    ``kind`` is ``default``, ``file`` or ``environment``. Of a file, ``place`` is its path and
    ``line`` the line that names the setting, from 1; None where no line does so plainly.
    """

    kind: str = "default"
    place: str = ""
    line: int | None = None


class Kind(Protocol):
    """What every kind of setting offers."""

    @property
    def allowed(self) -> str:
        """Say in words what is allowed."""

    def read(self, raw: object) -> object:
        """Turn the written value into the used one, or raise ValueError."""


class Networks:
    """Networks, each as an address with the length of its prefix."""

    allowed = "a list of networks such as 10.0.0.0/8, or networks with commas between them"

    def read(self, raw: object) -> tuple[str, ...]:
        """Read them; a bare address is a network of one."""
        words = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(words, list):
            raise ValueError
        found = [ipaddress.ip_network(str(word).strip()) for word in words if str(word).strip()]
        return tuple(map(str, found))


class Count:
    """A whole number between two limits."""

    def __init__(self, low: int, high: int) -> None:
        """Keep the limits, both allowed."""
        self.low, self.high = low, high
        self.allowed = f"a whole number from {low} to {high}"

    def read(self, raw: object) -> int:
        """Read a whole number; TOML's true is not 1."""
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise ValueError
        value = int(raw)
        if not self.low <= value <= self.high:
            raise ValueError
        return value


class Seconds:
    """A number of seconds between two limits, fractions allowed."""

    def __init__(self, low: float, high: float) -> None:
        """Keep the limits, both allowed."""
        self.low, self.high = low, high
        self.allowed = f"a number from {low} to {high}"

    def read(self, raw: object) -> float:
        """Read a number; ``nan`` compares false with both limits and so is refused."""
        if isinstance(raw, bool) or not isinstance(raw, int | float | str):
            raise ValueError
        value = float(raw)
        if not self.low <= value <= self.high:
            raise ValueError
        return value


class Choice:
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        """Keep the words."""
        self.words = words
        self.allowed = " | ".join(words)

    def read(self, raw: object) -> str:
        """Read a word, exactly as listed."""
        if not isinstance(raw, str) or raw not in self.words:
            raise ValueError
        return raw


class Words:
    """Any of a few words, each at most once; none is allowed too."""

    def __init__(self, *words: str) -> None:
        """Keep the words."""
        self.words = words
        self.allowed = "a list, or words with commas between them, of: " + ", ".join(words)

    def read(self, raw: object) -> tuple[str, ...]:
        """Read the words, in the order in which they are listed."""
        found = [word.strip() for word in raw.split(",")] if isinstance(raw, str) else raw
        if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
            raise ValueError
        chosen = {word for word in found if word}
        if not chosen <= set(self.words):
            raise ValueError
        return tuple(word for word in self.words if word in chosen)


class Switch:
    """On or off."""

    allowed = "true | false"

    def read(self, raw: object) -> bool:
        """Read a boolean, or the words ``true`` and ``false``."""
        if isinstance(raw, bool):
            return raw
        if isinstance(raw, str) and raw.lower() in {"true", "false"}:
            return raw.lower() == "true"
        raise ValueError


class Text:
    """Any single line."""

    allowed = "one line of text"

    def read(self, raw: object) -> str:
        """Read a line without control characters."""
        if not isinstance(raw, str) or not (raw.isprintable() or not raw):
            raise ValueError
        return raw.strip()


class Host:
    """An IP address or a host name, which is written into links and the Caddyfile."""

    def __init__(self, *, empty: bool = False) -> None:
        """Say whether empty is allowed too."""
        self.empty = empty
        self.allowed = "an IP address or host name" + (", or empty" if empty else "")

    def read(self, raw: object) -> str:
        """Read an address or a name; brackets around IPv6 are taken off."""
        if not isinstance(raw, str):
            raise ValueError
        text = raw.strip()
        if not text and self.empty:
            return ""
        try:
            return str(ipaddress.ip_address(text.strip("[]")))
        except ValueError:
            if not _HOST_NAME.match(text):
                raise
            return text


class HttpsUrl:
    """The address of a service, which is written into the Caddyfile."""

    allowed = "an address that begins with https://, or empty"

    def read(self, raw: object) -> str:
        """Read an address without query."""
        if not isinstance(raw, str) or (raw.strip() and not _HTTPS_URL.match(raw.strip())):
            raise ValueError
        return raw.strip()


class Email:
    """A mail address, which is written into the Caddyfile."""

    allowed = "a mail address, or empty"

    def read(self, raw: object) -> str:
        """Read an address."""
        if not isinstance(raw, str) or (raw.strip() and not _EMAIL.match(raw.strip())):
            raise ValueError
        return raw.strip()


class Issuer:
    """Who issues tokens: an address of HTTPS, or on this machine of HTTP; also none."""

    allowed = "an address that begins with https:// (on this machine also http://), or empty"

    def read(self, raw: object) -> str:
        """Read it as it is: whoever compares it does so letter by letter."""
        if not isinstance(raw, str) or not (raw.isprintable() or not raw):
            raise ValueError
        text = raw.strip()
        if text and not is_safe_address(text):
            raise ValueError
        return text


def is_safe_address(text: str) -> bool:
    """Tell whether nobody can listen on the way to an address, and it names nothing but a place."""
    found = urlsplit(text)
    if found.query or found.fragment or found.username or not found.hostname or " " in text:
        return False
    return found.scheme == "https" or (found.scheme == "http" and _is_here(found.hostname))


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class PathIn:
    """A file or folder; need not exist."""

    allowed = "a path, absolute or from the project's folder"

    def read(self, raw: object) -> Path:
        """Read a path, ``~`` allowed."""
        if not isinstance(raw, str) or not raw.strip() or not raw.isprintable():
            raise ValueError
        try:
            return Path(raw.strip()).expanduser()
        except RuntimeError as error:
            # ``~name`` of an account that there is not.
            raise ValueError(str(error)) from error


class Paths:
    """Any number of files or folders; none need exist."""

    allowed = "a list of paths, or paths with : between them"

    def read(self, raw: object) -> tuple[Path, ...]:
        """Read the paths in order."""
        words = raw.split(os.pathsep) if isinstance(raw, str) else raw
        if not isinstance(words, list):
            raise ValueError
        return tuple(PathIn().read(word) for word in words if word != "")


class Flags:
    """ComfyUI's flags: a list of words in TOML, a shell-quoted line in the environment."""

    allowed = "a list of words, or one line quoted as in a shell; none that the manager itself sets"

    def read(self, raw: object) -> tuple[str, ...]:
        """Read the words in order."""
        if isinstance(raw, str):
            words = shlex.split(raw)
        elif isinstance(raw, list) and all(isinstance(word, str) for word in raw):
            words = raw
        else:
            raise ValueError
        refused = forbidden_flags(words)
        if refused:
            raise ValueError("; ".join(explain(word) for word in refused))
        return tuple(words)


def setting(kind: Kind, default: object, help_text: str, unit: str = "") -> Any:  # noqa: ANN401 - a field
    """Declare a field of the settings: what it may hold, its default, what it does, its unit."""
    return field(default=default, metadata={"kind": kind, "help": help_text, "unit": unit})
