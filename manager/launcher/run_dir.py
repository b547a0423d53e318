"""One launch's directory: what the supervisor and the launcher leave for each other in it.

``meta``, ``plan`` and ``secret`` (by the launcher, before anything runs), ``lock``, ``record``,
``exit``, ``gone`` (by the supervisor), ``log`` and ``log.1`` (the child's output). Reading never
raises for what is missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from manager.identity import Identity, boot_id, from_dict
from manager.launcher import cgroups

FOLDER_MODE = 0o700
FILE_MODE = 0o600


class RunDir:
    """The files of one launch."""

    def __init__(self, path: Path) -> None:
        """Name the directory; nothing is touched."""
        self.path = path
        self.log = path / "log"
        self.secret = path / "secret"

    def create(
        self,
        meta: Mapping[str, object],
        secret: str | None = None,
        plan: Mapping[str, object] | None = None,
    ) -> bool:
        """Make the directory and write ``meta`` to the disk itself, ``secret`` and ``plan`` beside.

        Returns:
            False when the launch exists already: making the directory is the claim.

        Raises:
            OSError: it cannot be written.
        """
        self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        try:
            self.path.mkdir(mode=FOLDER_MODE)
        except FileExistsError:
            return False
        try:
            self._fill(meta, secret, plan)
        except OSError:
            # Nothing runs yet, so the claim is given back.
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        return True

    def renew(
        self,
        meta: Mapping[str, object],
        secret: str | None = None,
        plan: Mapping[str, object] | None = None,
    ) -> None:
        """Write anew what a claim holds whose maker was killed over it; nothing has run yet.

        Raises:
            OSError: it cannot be written.
        """
        # The lock stays the same file: whoever might hold it must go on excluding all others.
        for name in ("gone", "exit", "meta", "plan", "secret"):
            (self.path / name).unlink(missing_ok=True)
        self._fill(meta, secret, plan)

    def _fill(
        self,
        meta: Mapping[str, object],
        secret: str | None,
        plan: Mapping[str, object] | None,
    ) -> None:
        for name, content in (("meta", meta), ("plan", plan)):
            if content is None:
                continue
            with open(self.path / name, "xb", opener=_private) as file:
                file.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        if secret is not None:
            with open(self.secret, "x", encoding="ascii", opener=_private) as file:
                file.write(secret)
        (self.path / "lock").touch(mode=FILE_MODE)

    def open_log(self) -> int:
        """Open the log for appending, as the standard output of a process."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self.log, flags, FILE_MODE)

    def locked(self) -> bool:
        """Tell whether a supervisor lives.

        Raises:
            OSError: the lock is there but cannot be tried, so nobody can tell.
        """
        return held(self.path / "lock")

    def gone(self) -> bool:
        """Tell whether the end of the whole tree was recorded."""
        return (self.path / "gone").exists()

    def mark_gone(self) -> None:
        """Record the end of the tree where the supervisor could not; worth no failure."""
        try:
            (self.path / "gone").touch(mode=FILE_MODE)
        except OSError:
            return

    def of_earlier_boot(self) -> bool:
        """Tell whether the launch began before the machine did: nothing of it can live."""
        noted = self._read("record").get("boot_id")
        return isinstance(noted, str) and noted != boot_id()

    def identities(self) -> tuple[Identity | None, Identity | None]:
        """Give the recorded supervisor and main process."""
        record = self._read("record")
        return _identity(record, "supervisor"), _identity(record, "child")

    def owner(self) -> int | None:
        """Give the account that the launch's own files belong to; None when there are none."""
        try:
            return (self.path / "record").stat().st_uid
        except OSError:
            return None

    def account(self) -> int | None:
        """Give the launch's own account; None when it runs as the manager, or nobody knows."""
        uid = self.meta().get("uid")
        return uid if type(uid) is int else None

    def groups(self) -> tuple[Path, ...]:
        """Give the launch's control groups, of which none may be there any more."""
        return cgroups.of_launch(self.path.name, self.meta().get("groups"))

    def exit_code(self) -> int | None:
        """Give how the main process ended, negative for a signal; None when nobody saw it."""
        code = self._read("exit").get("code")
        return code if isinstance(code, int) else None

    def port(self) -> int | None:
        """Give where the launch was told to listen; None where that was not noted."""
        meta = self.meta()
        port = meta.get("port")
        if "port" not in meta and isinstance(meta.get("labels"), dict):
            # An earlier version noted it for people only.
            label = str(meta["labels"].get("port"))
            port = int(label) if label.isdecimal() else None
        return port if isinstance(port, int) and port > 0 else None

    def meta(self) -> dict[str, Any]:
        """Give what was written before the start; empty when it cannot be read."""
        return self._read("meta")

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def held(lock: Path) -> bool:
    """Tell whether somebody holds a lock file; nobody does where there is none.

    Raises:
        OSError: it is there but cannot be tried, so nobody can tell.
    """
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who look do not take each other for its holder.
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)


def _identity(record: Mapping[str, Any], name: str) -> Identity | None:
    """Read ``{"boot_id": ..., name: [pid, start_ticks]}`` as the supervisor writes it."""
    pair = record.get(name)
    if not isinstance(pair, list) or len(pair) != 2:
        return None
    return from_dict({"pid": pair[0], "start_ticks": pair[1], "boot_id": record.get("boot_id")})
