"""The Caddyfile on disk: what is the operator's, what is ours, and how it is replaced whole.

Owns the marker lines and the order of writing. Knows neither Caddy nor tokens. Everything here that
touches the disk may be given to ``runtime.offload``: it neither logs nor locks.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from manager.errors import GateFailed
from manager.gate import options
from manager.gate.options import Options
from manager.gate.render import BEGIN, END

SECRET_WORD = "{$CADDY_ADMIN_SECRET:^nobody^}"  # noqa: S105 - the place of one
OWN_SOCKET = "data/caddy/admin.sock"
"""Where it is below the project's folder, for a Caddy that was not told."""

OLD_ADMIN_LINE = f"admin unix/{{$CADDY_ADMIN_SOCKET:{OWN_SOCKET}}}|0600"
"""What stood there before there was a secret; taken, and written anew as ``ADMIN_LINES``."""

EARLIER_FIRST_LINE = f"{OLD_ADMIN_LINE} {{"
"""What stood there while a Caddy that was begun by hand took the manager's own socket."""

NOBODYS_SOCKET = "/dev/null/the-manager-starts-caddy"
"""Where nothing can listen. A second Caddy would take the manager's socket and share its ports
(SO_REUSEPORT), with gates that nobody closes any more; one begun by hand ends at once instead."""

ADMIN_LINES = (
    f"admin unix/{{$CADDY_ADMIN_SOCKET:{NOBODYS_SOCKET}}}|0600 {{",
    *(f"origins {SECRET_WORD}", "enforce_origin", "}"),
)
"""Must stand in the file: without them Caddy's admin interface moves to a port that every program
of the machine can reach, or answers every program of this account, and with it the power to open
all gates (https://caddyserver.com/docs/caddyfile/options#admin)."""

_LOG_LINE = "request>headers>Referer delete"
_LOG_LINES_FOR_SECRET = ("headers>Origin delete", "origins delete")

RESTORE = "put it back from the shipped Caddyfile (git checkout Caddyfile)"


@dataclass(frozen=True)
class Outside:
    """The operator's lines above and below the managed block."""

    above: str
    below: str

    def around(self, block: str) -> str:
        """Give the whole file with ``block`` in its place."""
        return self.above + block + self.below

    def with_options(self, wanted: Options) -> Outside:
        """Give the same with what TLS needs in the first block.

        Raises:
            GateFailed: that block is not to be found.
        """
        lines = self.above.splitlines(keepends=True)
        return replace(self, above="".join(options.put(lines, ADMIN_LINES[0], wanted)))


def split(text: str, path: Path) -> Outside:
    """Find the operator's lines; admin lines of an earlier version come out as today's.

    What TLS has put between them is left out: whether it is on is not for the file to say.

    Raises:
        GateFailed: a marker or the admin lines are missing, or stand twice; says which and where.
    """
    lines = text.splitlines(keepends=True)
    begin = _only_line(lines, BEGIN, path)
    end = _only_line(lines, END, path)
    if end < begin:
        raise GateFailed(
            f"{path}: line {end + 1} (# <<<) stands above line {begin + 1} (# >>>); {RESTORE}"
        )
    above, below = _renewed(options.without(lines[:begin])), _renewed(lines[end + 1 :])
    own = [line.strip() for line in above + below]
    at = [number for number, line in enumerate(own) if line == ADMIN_LINES[0]]
    if len(at) != 1 or tuple(own[at[0] : at[0] + len(ADMIN_LINES)]) != ADMIN_LINES:
        shown = " ⏎ ".join(ADMIN_LINES)
        raise GateFailed(f"{path}: the first block must hold the lines «{shown}» once; {RESTORE}")
    return Outside("".join(above), "".join(below))


def is_old(text: str) -> bool:
    """Tell whether the file has the admin line of an earlier version."""
    return any(line.strip() == OLD_ADMIN_LINE for line in text.splitlines())


def with_secret(text: str, secret: str) -> str:
    """Give the text as Caddy is to load it; the file keeps the placeholder.

    A Caddy that another version began has no such variables in its environment.
    """
    return text.replace(SECRET_WORD, secret).replace(NOBODYS_SOCKET, OWN_SOCKET)


def _renewed(lines: list[str]) -> list[str]:
    """Put today's admin lines in the place of older ones, and keep the secret out of the log."""
    earlier, today = EARLIER_FIRST_LINE, ADMIN_LINES[0]
    lines = [_like(line, today) if line.strip() == earlier else line for line in lines]
    if OLD_ADMIN_LINE not in [line.strip() for line in lines]:
        return lines
    told = [line.strip() for line in lines]
    new: list[str] = []
    for line in lines:
        if line.strip() == OLD_ADMIN_LINE:
            first, second, third, last = ADMIN_LINES
            new += [_like(line, word) for word in (first, f"\t{second}", f"\t{third}", last)]
            continue
        if line.strip() == _LOG_LINE:
            new += [_like(line, word) for word in _LOG_LINES_FOR_SECRET if word not in told]
        new.append(line)
    return new


def _like(line: str, content: str) -> str:
    """Give a line with the white space around it, the line's end included, of another."""
    return line.replace(line.strip(), content)


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
