"""The Caddyfile on disk: what is the operator's, what is ours, and how it is replaced whole.

Owns the marker lines and the order of writing. Knows neither Caddy nor tokens. Everything here that
touches the disk may be given to ``runtime.offload``: it neither logs nor locks.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from manager.errors import GateFailed
from manager.gate.render import BEGIN, END

ADMIN_LINE = "admin unix/{$CADDY_ADMIN_SOCKET:data/caddy/admin.sock}|0600"
"""Must stand in the file: without it Caddy's admin interface moves to a port that every program of
the machine can reach, and with it the power to open all gates."""

RESTORE = "put it back from the shipped Caddyfile (git checkout Caddyfile)"


@dataclass(frozen=True)
class Outside:
    """The operator's lines above and below the managed block."""

    above: str
    below: str

    def around(self, block: str) -> str:
        """Give the whole file with ``block`` in its place."""
        return self.above + block + self.below


def split(text: str, path: Path) -> Outside:
    """Find the operator's lines.

    Raises:
        GateFailed: a marker or the admin line is missing, or stands twice; says which and where.
    """
    lines = text.splitlines(keepends=True)
    begin = _only_line(lines, BEGIN, path)
    end = _only_line(lines, END, path)
    if end < begin:
        raise GateFailed(
            f"{path}: line {end + 1} (# <<<) stands above line {begin + 1} (# >>>); {RESTORE}"
        )
    outside = Outside("".join(lines[:begin]), "".join(lines[end + 1 :]))
    own = [line.strip() for line in lines[:begin] + lines[end + 1 :]]
    if own.count(ADMIN_LINE) != 1:
        raise GateFailed(
            f"{path}: the first block must hold the line «{ADMIN_LINE}» once; {RESTORE}"
        )
    return outside


def _only_line(lines: list[str], marker: str, path: Path) -> int:
    found = [number for number, line in enumerate(lines) if line.startswith(marker)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise GateFailed(f"{path}: the line «{marker}» is missing; {RESTORE}")
    where = ", ".join(str(number + 1) for number in found)
    raise GateFailed(f"{path}: the line «{marker}» must stand once, but is in lines {where}")


def read(path: Path) -> str | None:
    """Read the file; None where there is none.

    Raises:
        GateFailed: it cannot be read; says why.
    """
    try:
        # newline="" keeps the operator's line ends as they are.
        with path.open(encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise GateFailed(f"{path} cannot be read: {error.strerror}; {RESTORE}") from error
    except UnicodeDecodeError:
        raise GateFailed(f"{path} is not UTF-8 text; {RESTORE}") from None


class Draft:
    """The next Caddyfile, safe on the disk beside the present one but not yet in its place.

    A full disk or a folder without write permission shows here, before Caddy is asked to change
    anything. ``put`` is a rename and so all or nothing.
    """

    def __init__(self, path: Path, text: str) -> None:
        """Write the draft, readable by its owner alone, and wait until the disk has it.

        Raises:
            GateFailed: it cannot be written.
        """
        self._path = Path(os.path.realpath(path))
        self._draft = self._path.with_name(f".{self._path.name}.new")
        try:
            self._write(text.encode("utf-8"))
        except OSError as error:
            self.drop()
            raise GateFailed(
                f"{self._path} cannot be written: {error.strerror}; the manager must be able to "
                f"make files in {self._path.parent}"
            ) from error

    def _write(self, content: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._draft.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(self._draft, flags, 0o600), "wb") as file:
            self._keep_owner(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def _keep_owner(self, descriptor: int) -> None:
        # A manager run by root must not take the file away from the person who edits it.
        if os.geteuid() == 0:
            with contextlib.suppress(FileNotFoundError):
                present = self._path.stat()
                os.fchown(descriptor, present.st_uid, present.st_gid)

    def put(self) -> None:
        """Let the draft take the file's place.

        Raises:
            GateFailed: the rename was refused.
        """
        try:
            self._draft.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            self.drop()
            raise GateFailed(f"{self._path} cannot be replaced: {error.strerror}") from error

    def drop(self) -> None:
        """Take the draft away."""
        with contextlib.suppress(OSError):
            self._draft.unlink()
