"""When a workspace was last used by a person, as Caddy saw it.

Each open gate has an access log that only such requests reach: whatever changes something, such as
an upload, a saved workflow or a prompt, and the few questions that somebody's hand is behind: the
page itself, a picture, a workflow that is opened. A tab that is merely open has a silent websocket,
and one whose ComfyUI has gone knocks each second: neither counts. A line holds a time and a status
and nothing that was asked for, so that no token can be in it; and nobody reads even that: the time
of the last line is the file's own, ``st_mtime`` of stat(2).
"""

from __future__ import annotations

from pathlib import Path
from string import Template

_UNQUOTABLE = frozenset('"`\\{}')
"""What means something to Caddy even between quotes."""


class UseLogs:
    """The logs of all gates of one manager."""

    def __init__(self, folder: Path) -> None:
        """Keep the folder; Caddy makes it."""
        self._folder = folder

    def path(self, port: int) -> Path:
        """Give the log of a ComfyUI port's gate."""
        return self._folder / f"{port}.log"

    def last(self, port: int) -> float | None:
        """Give when the gate was last used, in UTC epoch seconds; None where there is no log."""
        try:
            return self.path(port).stat().st_mtime
        except OSError:
            return None


def log_lines(path: Path, template: str) -> str:
    """Write the log's part of a site; empty for a path that the Caddyfile cannot hold."""
    text = str(path)
    if not text.isprintable() or _UNQUOTABLE & set(text):
        return ""
    return "\n" + Template(template).substitute(path=text).rstrip("\n")
