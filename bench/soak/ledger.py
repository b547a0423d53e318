"""What the people of the soak were promised, and what became of it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.chaos import query
from tests.support.server import ManagerProcess

UNSEEN_S = 5.0
"""Before a kill: what was sent so late may not have been seen in the queue (looked at each second;
the rest is for a busy machine). Nobody can keep it then, only say that the session died."""


@dataclass(frozen=True)
class Carried:
    """A moment at which a launch took prompts of a user: one, or all that were kept for him."""

    at: float
    launch_id: str
    username: str
    prefix: str | None = None


class Ledger:
    """Every prompt that a ComfyUI accepted, by the unique prefix of its picture's name."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._numbers = 0
        self.accepted: list[Carried] = []
        self.resent: list[Carried] = []
        self.killed: dict[str, float] = {}
        """Launches of which an instance was killed, and when (monotonic)."""
        self.unsure: list[tuple[float, float]] = []
        """Times during which the manager was away or could write nothing."""

    def prefix(self) -> str:
        """Give a prefix that nobody had."""
        with self._lock:
            self._numbers += 1
            return f"soak{self._numbers:07}"

    def fates(self, manager: ManagerProcess) -> tuple[Counter[str], list[str]]:
        """Count what became of the accepted prompts; give a line for each that is simply lost."""
        found = {row["username"]: Things(manager, row["workspace"]) for row in _users(manager)}
        ends = {row["launch_id"]: row["end_reason"] for row in _usage(manager)}
        counts: Counter[str] = Counter()
        lost = []
        for one in self.accepted:
            fate = found[one.username].fate(one.prefix or "") or self._said(one, ends)
            counts[fate or "lost"] += 1
            if fate is None:
                lost.append(f"lost: {one}, its launch ended as {ends.get(one.launch_id)}")
        return counts, lost

    def _said(self, one: Carried, ends: Mapping[str, str | None]) -> str | None:
        """Tell how a prompt's user knows that it is gone; None when nothing tells him."""
        later = [r for r in self.resent if r.username == one.username and r.at > one.at]
        for carried in (one, *later):
            died_at = self.killed.get(carried.launch_id)
            if died_at is None:
                continue
            if died_at - carried.at < UNSEEN_S or self._away_in(carried.at, died_at):
                told = ends.get(carried.launch_id) == "died"
                return "unseen before a kill" if told else "unseen before a kill, just stopped"
        if any(self._away_in(r.at, r.at + UNSEEN_S) for r in later):
            return "resend cut off"
        return None

    def _away_in(self, begin: float, end: float) -> bool:
        return any(a < end + UNSEEN_S and b > begin - UNSEEN_S for a, b in self.unsure)


class Things:
    """What lies in a user's folder."""

    def __init__(self, manager: ManagerProcess, workspace: str | None) -> None:
        """Read it all."""
        self._pictures: Counter[str] = Counter()
        self._kept: set[str] = set()
        if workspace is None:
            return
        folder = manager.data_dir / "workspaces" / workspace
        self._pictures.update(path.name[:11] for path in (folder / "output").glob("soak*.png"))
        for path in folder.glob("unfinished-*.jsonl"):
            self._kept.update(_prefixes(path))

    def fate(self, prefix: str) -> str | None:
        """Say whether a prompt became a picture or is kept; None for neither."""
        if self._pictures[prefix]:
            return "picture" if self._pictures[prefix] == 1 else "made twice"
        return "kept" if prefix in self._kept else None


def _prefixes(path: Path) -> Iterator[str]:
    for line in path.read_bytes().splitlines():
        for node in json.loads(line)["prompt"].values():
            if node["class_type"] == "SaveImage":
                yield node["inputs"]["filename_prefix"]


def _users(manager: ManagerProcess) -> list[dict[str, str]]:
    return [dict(row) for row in query(manager, "SELECT username, workspace FROM users")]


def _usage(manager: ManagerProcess) -> list[dict[str, str]]:
    return [dict(row) for row in query(manager, "SELECT launch_id, end_reason FROM usage")]
