"""Which manager on this machine uses which range of accounts: a note for each, below /run.

A manager may end everything that runs under an account of its range, and hands files over to it.
So two managers must never use one account at the same time. Whoever wants a range notes its data
directory under the first number; the folder is locked while one looks and notes, and what is
noted counts for as long as that manager, or anything that it started, is alive. /run is empty
after a reboot, as is the list of those who could be alive. Call through ``runtime.offload``.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from manager.launcher import account
from manager.launcher.run_dir import RunDir, held

NOTES = Path("/run/comfyui-multi-user-manager")
"""For root alone. A file in it is called as the number before the first account of a range."""

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def taken(base: int, data_dir: Path, note: bool) -> str:
    """Say why the accounts after ``base`` may not be used by the manager of ``data_dir``.

    Args:
        base: where the range begins.
        data_dir: whose manager asks; it holds its lock already, or others would not see it.
        note: whether to note that it uses them from now on.

    Returns:
        The reason; empty when they are this manager's.
    """
    own = data_dir.resolve()
    try:
        if not note and not NOTES.exists():
            return ""
        with _locked():
            other = _holder(base, own)
            if other is not None:
                return (
                    f"ISOLATION_UID_BASE = {base}: the manager of {other} uses accounts of the "
                    f"range that it begins; choose one that is {account.COUNT} away from that "
                    "manager's, or end that one with all of its instances"
                )
            if note:
                _note(base, own)
    except OSError as error:
        return (
            f"nobody can tell whether another manager uses the accounts after {base}: "
            f"{error.filename or NOTES}: {error.strerror or error}"
        )
    return ""


@contextmanager
def _locked() -> Iterator[None]:
    NOTES.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    folder = os.open(NOTES, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(folder)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != FOLDER_MODE:
            raise OSError("it is not a folder for root alone")
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _holder(base: int, own: Path) -> str | None:
    """Find another data directory that uses some of the accounts; forget those that do no more."""
    wanted = _range(base)
    for path in sorted(NOTES.iterdir()):
        if not path.name.isdecimal() or not _meet(wanted, _range(int(path.name))):
            continue
        noted = Path(os.fsdecode(path.read_bytes()))
        if noted == own:
            continue
        if noted.is_absolute() and (in_use(noted) or account.anybody(_range(int(path.name)))):
            return str(noted)
        path.unlink()
    return None


def in_use(data_dir: Path) -> bool:
    """Tell whether a manager, or a launch that it began, lives on a data directory.

    Raises:
        OSError: nobody can tell.
    """
    try:
        if held(data_dir / "manager.lock"):
            return True
        return any(RunDir(path).locked() for path in (data_dir / "runs").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _note(base: int, own: Path) -> None:
    path = NOTES / str(base)
    content = os.fsencode(own)
    if path.exists() and path.read_bytes() == content:
        return
    # Whole or not at all: a torn note would let go of accounts that are in use.
    fresh = NOTES / "new"
    fresh.unlink(missing_ok=True)
    with open(fresh, "xb", opener=_private) as file:
        file.write(content)
    fresh.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)


def _range(base: int) -> range:
    """Give the accounts of a range, with the first one that trials run as."""
    return range(base, account.accounts(base).stop)


def _meet(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop
