"""Where an instance answers, and how whoever asks there makes sure that it is that instance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

AUTHORITY = Path("instances/authority.pem")
"""Below the data directory: the certificate that all instances reached by https are checked with.
It is the manager's own, and signs one certificate a launch; see ``launcher/far/authority.py``."""

_ADDRESS = re.compile(
    r"((?P<scheme>[a-z]+)://)?((?P<name>[a-z0-9-]+(\.[a-z0-9-]+)*)@)?"
    r"(\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*)):(?P<port>[0-9]{1,5})",
    re.ASCII,
)


@dataclass(frozen=True)
class Address:
    """Where an instance answers; ``host`` is a name or a number without brackets.

    ``name`` is the one that its certificate must be for, which is its launch's own and not its
    machine's: whoever else has got the same host and port cannot have that certificate.
    """

    host: str
    port: int
    scheme: str = "http"
    name: str = ""

    @property
    def authority(self) -> str:
        """Give host and port as they stand in a URL (RFC 3986, section 3.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def pinned(self) -> bool:
        """Tell whether it is https, and known whose certificate it must show."""
        return self.scheme == "https" and bool(self.name)

    @property
    def usable(self) -> bool:
        """Tell whether anybody may be asked there: plain http, or https with its name."""
        return self.pinned or (self.scheme == "http" and not self.name)

    def __str__(self) -> str:
        name = f"{self.name}@" if self.name else ""
        scheme = "" if self.scheme == "http" else f"{self.scheme}://"
        return f"{scheme}{name}{self.authority}"

    @classmethod
    def parse(cls, text: str | None) -> Address | None:
        """Read what ``str`` wrote; None for what is no address."""
        found = _ADDRESS.fullmatch(text or "")
        if found is None or not 0 < int(found["port"]) < 65536:
            return None
        host, scheme = found["v6"] or found["host"], found["scheme"] or "http"
        return cls(host, int(found["port"]), scheme, found["name"] or "")
