"""Why a start is refused, in words that name the cause and what to do."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from manager.errors import LaunchFailed
from manager.launcher.protocol import LaunchSpec


def check(spec: LaunchSpec) -> None:
    """Refuse what cannot run, in words that name the cause.

    Raises:
        LaunchFailed: there is no such program or folder.
    """
    program = spec.argv[0]
    if shutil.which(program, path=spec.env.get("PATH", "")) is None:
        raise LaunchFailed(
            f"there is no program {program} that may be run: check COMFYUI_PYTHON and COMFYUI_PATH"
        )
    # Unlike Path.is_dir, this does not raise where the folder above may not be entered.
    if not os.path.isdir(spec.cwd):  # noqa: PTH112
        raise LaunchFailed(
            f"there is no folder {spec.cwd} that may be entered: check COMFYUI_PATH and its rights"
        )


def reason_of(error: OSError, path: Path) -> str:
    """Say what stood in the way of a start, and what to do."""
    what = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{what}: nothing can be written below {path.parent}; free some space there"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        named = error.filename or path
        return f"{what}: {named}; the manager's account must be able to write and enter it"
    if error.errno in {errno.EAGAIN, errno.ENOMEM}:
        return f"{what}: no new process; raise the limit of processes (ulimit -u) or free memory"
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return f"{what}: raise the limit of open files (ulimit -n) and restart the manager"
    return f"{what}: {error.filename or path}"
