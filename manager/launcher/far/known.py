"""Whether the storage with the launches is there: an empty folder in its place proves nothing."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from pathlib import Path

from manager.launcher import runs
from manager.launcher.far.files import FarRun
from manager.launcher.far.keeper import MARK

_MARK = re.compile(r"[0-9a-f]{32}\n?")


class KnownRuns:
    """The folder with one folder a launch, known by a mark that was seen in it.

    Where a share is no longer mounted, all its launches seem never to have been. A manager that is
    started without its share does not come to that: its database lies beside them.
    Blocks: call through ``runtime.offload``.
    """

    def __init__(self, runs_dir: Path) -> None:
        """Name the folder; nothing is touched."""
        self._runs_dir = runs_dir
        self._mark: str | None = None

    def note(self) -> None:
        """Make the mark where there is none; the folder is there.

        Raises:
            OSError: it cannot be written.
        """
        if self._read() is None:
            path = self._runs_dir / MARK
            part = path.with_name(f"{MARK}.{secrets.token_hex(4)}")
            part.write_text(secrets.token_hex(16), encoding="ascii")
            try:
                # The first one stays.
                os.link(part, path)
            except OSError:
                with contextlib.suppress(FileExistsError), path.open("x", encoding="ascii") as file:
                    file.write(secrets.token_hex(16))
            finally:
                part.unlink()
        self.there()

    def there(self) -> bool:
        """Tell whether the storage is the one that was seen before."""
        mark = self._read()
        if self._mark is None:
            self._mark = mark
        return mark == self._mark

    def all(self) -> list[FarRun]:
        """List the launches.

        Raises:
            OSError: the storage is not there.
        """
        if not self.there():
            raise OSError(f"{self._runs_dir} is not the storage that it was")
        try:
            entries = list(self._runs_dir.iterdir())
        except FileNotFoundError:
            return []
        return [FarRun(path) for path in entries if runs.LAUNCH_ID.match(path.name)]

    def _read(self) -> str | None:
        try:
            mark = (self._runs_dir / MARK).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
        return mark.strip() if _MARK.fullmatch(mark) else None


def pruned(known: KnownRuns, keep: int) -> list[str]:
    """Remove the launches that are gone, all but the newest ``keep``, and give their names.

    One of which only a part was written is removed when it has been so for long.

    Raises:
        OSError: the storage cannot be listed.
    """
    ended = []
    for run in known.all():
        if run.gone() or run.called_off():
            ended.append(run)
        elif not run.whole() and not run.begun_elsewhere() and _is_old(run):
            run.remove()
    # By the storage's own clock, and for the order alone.
    ended.sort(key=_changed_at, reverse=True)
    for run in ended[keep:]:
        run.remove()
    return [run.path.name for run in ended[keep:]]


def _is_old(run: FarRun) -> bool:
    return abs(time.time() - _changed_at(run)) > runs.CLAIM_S


def _changed_at(run: FarRun) -> float:
    try:
        return run.path.stat().st_mtime
    except OSError:
        return 0.0
