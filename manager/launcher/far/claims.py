"""Who has a launch: the one program on a node that may run it, or the manager that called it off.

The claim is one file, made once and never changed. Whoever makes it first has the launch for good,
so a job that an engine runs twice runs once, and one that was called off before it began never
does. A hard link makes the file whole or not at all, also on a file system of another machine
(link(2); open(2) on ``O_EXCL`` and NFS); locks there are not to be trusted.

Part of the program of a node: standard library only (Python 3.9).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CLAIM = "claim"
NODE, MANAGER = "node", "manager"
"""Who has it, under ``by``."""

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EACCES})


def take(run_dir: Path, by: str, content: Mapping[str, object]) -> bool:
    """Take a launch for good.

    Args:
        run_dir: the launch's directory.
        by: ``NODE`` or ``MANAGER``.
        content: what others are to know of the one who has it.

    Returns:
        False where somebody else has it.

    Raises:
        OSError: it cannot be written, so nobody has got it by this.
    """
    mark = secrets.token_hex(8)
    text = json.dumps({**content, "by": by, "mark": mark}).encode() + b"\n"
    own = run_dir / f"{CLAIM}.{mark}"
    _write(own, text)
    try:
        os.link(own, run_dir / CLAIM)
    except FileExistsError:
        # Of an answer that was lost on the way the second one says this too.
        return read(run_dir).get("mark") == mark
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _write_first(run_dir / CLAIM, text)
    finally:
        with contextlib.suppress(OSError):
            own.unlink()
    return True


def taken(run_dir: Path) -> bool:
    """Tell whether anybody has a launch.

    Raises:
        OSError: nobody can tell.
    """
    try:
        (run_dir / CLAIM).stat()
    except FileNotFoundError:
        return False
    return True


def read(run_dir: Path) -> dict[str, Any]:
    """Say who has a launch; empty where nobody has or it cannot be read."""
    return read_file(run_dir / CLAIM)


def read_file(path: Path) -> dict[str, Any]:
    """Read an object out of a file; empty where there is none that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, text: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(file, "wb") as out:  # noqa: PTH123 - a descriptor
        out.write(text)
        out.flush()
        os.fsync(out.fileno())


def _write_first(path: Path, text: bytes) -> bool:
    """Do without links. Killed in between, it leaves a claim of which nobody can tell whose."""
    try:
        _write(path, text)
    except FileExistsError:
        return False
    return True
