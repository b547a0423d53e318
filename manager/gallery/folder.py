"""The way into a folder that somebody else's code fills, for a manager that may be root.

From the workspaces down, each part of a path is opened by itself, relative to the one above, and
never through a symbolic link (openat(2) with O_NOFOLLOW): what is swapped in between makes the
opening fail, and leads nowhere. What was opened is then looked at, not its name: a plain file, with
one name only and of the folder's own account, so that no hard link to another's file is served.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from manager.errors import NotFound

OUTPUT = "output"
MOST_PARTS = 6
"""How deep a file may lie below the output folder, its own name included."""

_WORKSPACE = re.compile(r"[0-9]+-[A-Za-z0-9_-]+")
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK a named pipe would hold us until somebody writes into it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True)
class FoundFile:
    """An open plain file. ``version`` changes with its content; ``size`` is in bytes."""

    descriptor: int
    size: int
    version: str

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


def version_of(status: os.stat_result) -> str:
    """Name one content of one file: another file, or another content, has another name."""
    parts = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    return "-".join(f"{part:x}" for part in parts)


def parts_of(path: str) -> list[str]:
    """Cut a path below the output folder into names.

    Raises:
        NotFound: it can name nothing in there.
    """
    parts = path.split("/")
    if len(parts) > MOST_PARTS or not all(is_name(part) for part in parts):
        raise not_there()
    return parts


def is_name(text: str) -> bool:
    """Tell whether a text is a visible file's name that a page can show and send back."""
    return bool(text) and not text.startswith(".") and text.isprintable() and "/" not in text


def not_there() -> NotFound:
    """Make the one answer for all that is not to be had: it tells no case from another."""
    return NotFound("no such picture", reason="output")


class Folder:
    """A user's workspace, held open for the length of one piece of work."""

    def __init__(self, workspaces: Path, name: str) -> None:
        """Keep the names; opens nothing yet."""
        self._workspaces = workspaces
        self._name = name
        self._open: list[int] = []
        self.top = self.output = -1
        self.owner = -1
        """The account that the output folder belongs to."""

    def __enter__(self) -> Folder:
        """Open the workspace and its output folder.

        Raises:
            NotFound: there is none; also where a link stands in its place.
        """
        if not _WORKSPACE.fullmatch(self._name):
            raise not_there()
        try:
            # This one is the manager's own, and may lie behind a link of the operator's.
            above = os.open(self._workspaces, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._open.append(above)
            self.top = self.below(above, self._name)
            self.output = self.below(self.top, OUTPUT)
            self.owner = os.fstat(self.output).st_uid
        except OSError:
            self.close()
            raise not_there() from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all that is open."""
        self.close()

    def close(self) -> None:
        """Close all that is open; harmless twice."""
        while self._open:
            os.close(self._open.pop())

    def below(self, above: int, name: str) -> int:
        """Open a folder in another one, for as long as this object is open.

        Raises:
            OSError: it is not there, or not a folder but a link to one.
        """
        found = os.open(name, _FOLDER, dir_fd=above)
        self._open.append(found)
        return found

    def holder(self, parts: Sequence[str]) -> int:
        """Open the folder that holds a file, ``parts`` naming the way from the output folder.

        Raises:
            NotFound: there is none.
        """
        at = self.output
        try:
            for part in parts[:-1]:
                at = self.below(at, part)
        except OSError:
            raise not_there() from None
        return at

    def open(self, parts: Sequence[str]) -> FoundFile:
        """Open a plain file of the owner's, for the caller to close.

        Raises:
            NotFound: it is not there, or something else than that.
        """
        try:
            found = os.open(parts[-1], _FILE, dir_fd=self.holder(parts))
        except (OSError, ValueError):
            raise not_there() from None
        status = os.fstat(found)
        if not self.is_own(status):
            os.close(found)
            raise not_there()
        return FoundFile(found, status.st_size, version_of(status))

    def is_own(self, status: os.stat_result) -> bool:
        """Tell whether this is a plain file with one name, of the folder's own account."""
        plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        return plain and status.st_uid == self.owner
