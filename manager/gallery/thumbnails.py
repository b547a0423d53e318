"""Small pictures: made once by a process of its own, kept below the data folder, bounded.

At most ``AT_ONCE`` are made at a time; who asks for more waits. What no picture can be made of is
remembered as an empty file, so that it is not tried at each look.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import threading
from pathlib import Path

from manager.gallery.folder import FoundFile
from manager.runtime import offload

AT_ONCE = 2
MOST_FILE_BYTES = 64 * 1024 * 1024
"""A larger picture is shown without a small one."""

KEPT_FILES = 8000
"""At 10 to 20 KB each about 128 MB; the oldest go first."""

TIDY_EVERY = 200
NOBODY = 65534
"""The account of a decoder that is begun by root: owns nothing, on every Linux."""

_DECODER = str(Path(__file__).with_name("decoder.py"))
_WEBP = (b"RIFF", b"WEBP")


class Thumbnails:
    """The small pictures of one data folder."""

    def __init__(self, folder: Path) -> None:
        """Keep the place; makes nothing yet."""
        self._folder = folder
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._made = 0

    def of(self, workspace: str, found: FoundFile) -> bytes | None:
        """Give the small picture of an open file, as WebP; None where none can be made."""
        path = self._path(workspace, found.version)
        kept: bytes | None = offload(_read, path)
        if kept is None:
            with self._turns:
                # Somebody else may have asked for the same one.
                kept = offload(_read, path)
                if kept is None:
                    kept = offload(self._make, found, path)
        return kept or None

    def forget(self, workspace: str, version: str) -> None:
        """Take away the small picture of a file that was deleted; touches the disk."""
        with contextlib.suppress(OSError):
            self._path(workspace, version).unlink(missing_ok=True)

    def _path(self, workspace: str, version: str) -> Path:
        # With the workspace: another user may get a deleted file's number, and choose its time.
        key = hashlib.sha256(f"{workspace}/{version}".encode()).hexdigest()
        return self._folder / f"{key}.webp"

    def _make(self, found: FoundFile, path: Path) -> bytes:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._made % TIDY_EVERY == 0:
            _tidy(self._folder)
        self._made += 1
        made = _decode(found, self._folder) if found.size <= MOST_FILE_BYTES else b""
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            file.write(made)
        Path(file.name).replace(path)
        return made


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _decode(found: FoundFile, folder: Path) -> bytes:
    """Run the decoder on an open file and give what it made; empty where it could not."""
    with tempfile.TemporaryFile(dir=folder) as target:
        os.lseek(found.descriptor, 0, os.SEEK_SET)
        # By a system call that no runtime replaces: see ``launcher/helper.py``.
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", _DECODER, str(NOBODY)],
            {},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, found.descriptor, 0),
                (os.POSIX_SPAWN_DUP2, target.fileno(), 1),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsigmask=(),
        )
        ended = os.waitid(os.P_PID, pid, os.WEXITED)
        if ended is None or ended.si_code != os.CLD_EXITED or ended.si_status != 0:
            return b""
        target.seek(0)
        made = target.read()
    return made if (made[:4], made[8:12]) == _WEBP else b""


def _tidy(folder: Path) -> None:
    """Keep the newest small pictures only."""
    with contextlib.suppress(OSError):
        kept = sorted(folder.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)
        for path in kept[KEPT_FILES:]:
            path.unlink(missing_ok=True)
