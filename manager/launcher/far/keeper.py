"""What the program of a node tells of its launch, and how it finds who is left of it."""

from __future__ import annotations

import contextlib
import json
import re
import time
from pathlib import Path
from typing import Any

from manager.identity import boot_id
from manager.launcher import activity, devices, notes, trees
from manager.launcher.run_dir import RunDir

ACTIVITY_S = 3.0
"""Between two looks at what the tree has done: each walks the whole of /proc."""

MARK = ".storage"
"""By this file the storage is known to be there; see ``known.py``."""

MISSED_S = 10.0

_NUMBERS = re.compile(r"[0-9]+(,[0-9]+)*")


class Keeper:
    """One launch's. Whatever cannot be written is written the next time: the tree works on."""

    def __init__(self, run: RunDir, job: dict[str, Any]) -> None:
        """Begin before anything runs."""
        self.run = run
        self.orphan = False
        self.cards = ""
        self.address: tuple[str, int] | None = None
        self._nodes = str(job["device_node"])
        self._ours = range(*job["accounts"])
        self._boot = boot_id()
        self._count = 0
        self._activity: dict[str, object] = {}
        self._activity_at = 0.0
        self._missed_at = 0.0

    def order(self) -> str:
        """Read what the manager asks for; empty where nothing is or nobody can tell.

        A launch that people gave up while its machine was away has its place given to others: it
        is to be killed.
        """
        try:
            if self._given_up():
                return "kill"
            return (self.run.path / "order").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return ""

    def _given_up(self) -> bool:
        """Tell whether the launch counts as gone, or was forgotten by then.

        Its folder is missing only where the storage is surely there, and for a while.

        Raises:
            OSError: nobody can tell.
        """
        path = self.run.path
        if _is_there(path):
            self._missed_at = 0.0
            return _is_there(path / "gone")
        now = time.monotonic()
        if not _is_there(path.parent / MARK):
            return False
        self._missed_at = self._missed_at or now
        return now - self._missed_at >= MISSED_S

    def beat(self) -> None:
        """Tell that this program lives, and what it sees."""
        self._count += 1
        told = {
            "count": self._count,
            "boot_id": self._boot,
            "orphan": self.orphan,
            "cards": self.cards,
            "listens": self._listens(),
            "activity": self._done(),
        }
        self._write("beat", told)

    def _listens(self) -> bool | None:
        """Tell whether all who listen at the address belong to this launch; None: nobody does."""
        if self.address is None:
            return None
        host, port = self.address
        try:
            return trees.owns(self.run, self.run.path.name, port, host)
        except OSError:
            return None

    def _done(self) -> dict[str, object]:
        now = time.monotonic()
        if now - self._activity_at >= ACTIVITY_S:
            self._activity_at = now
            try:
                seen = activity.of_launch(self.run, self.run.path.name)
            except OSError:
                self._activity = {}
            else:
                self._activity = {
                    "count": self._count,
                    "cpu_seconds": seen.cpu_seconds,
                    "moved_bytes": seen.moved_bytes,
                    "waiting": seen.waiting,
                    "pids": sorted(seen.pids),
                }
        return self._activity

    def nobody_left(self) -> bool:
        """Tell whether what holds the launch together besides parents holds nobody any more."""
        try:
            return not trees.left_over(self.run, self.run.path.name, self._ours)
        except OSError:
            return False

    def end_marked(self) -> None:
        """Kill whom marks and account find."""
        with contextlib.suppress(OSError):
            trees.end_left_over(self.run, self.run.path.name, self._ours, True)

    def finish(self, code: int | None, reason: str) -> None:
        """Record the end where the supervisor could not; only when nothing is left."""
        plain = "".join(one for one in reason if one.isprintable())
        with contextlib.suppress(OSError):
            notes.say(plain)
            notes.write_file(
                str(self.run.path / "exit"), json.dumps({"code": code, "reason": plain}) + "\n"
            )
        # It matters: a full disk empties, a share comes back. Not of one that was forgotten.
        while not self._forgotten():
            try:
                notes.write_file(str(self.run.path / "gone"), "gone\n")
            except OSError:  # noqa: PERF203
                time.sleep(1.0)
            else:
                return

    def _forgotten(self) -> bool:
        path = self.run.path
        try:
            return not _is_there(path) and _is_there(path.parent / MARK)
        except OSError:
            return False

    def end(self) -> bool:
        """Tell who has the launch's cards open after its end, and whether anybody has."""
        holders = self._holders()
        self._write("ended", {"holders": holders})
        return any(holders.values())

    def _holders(self) -> dict[str, list[int]]:
        found = {}
        for node in self._device_nodes():
            openers = devices.openers(node)
            found[str(node)] = trees.suspects(self.run, self.run.path.name, openers)
        return found

    def _device_nodes(self) -> list[Path]:
        """List the nodes of the launch's cards; of all cards where they are named otherwise."""
        if not self._nodes or not self.cards:
            return []
        if _NUMBERS.fullmatch(self.cards):
            return [Path(self._nodes.format(number)) for number in self.cards.split(",")]
        pattern = Path(self._nodes.format("[0-9]*"))
        return sorted(pattern.parent.glob(pattern.name))

    def _write(self, name: str, told: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            notes.write_file(str(self.run.path / name), json.dumps(told) + "\n")


def _is_there(path: Path) -> bool:
    """Tell whether there is such a file.

    Raises:
        OSError: nobody can tell.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True
