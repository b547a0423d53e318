"""An engine without a cluster: jobs as processes of this machine, on cards of pretended nodes.

As quick as it can be, for what is built on engines; the contract's tests hold it to what the real
ones do. It can be struck dumb, lose its memory and lose a node, as they can.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from manager.errors import EngineSilent
from manager.launcher.command import CARD_VARIABLES
from manager.launcher.engine import EngineFacts, EngineNode, Job, JobReport, JobState


@dataclass
class _Entry:
    job: Job
    node: str | None = None
    cards: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    cancelled: bool = False
    log: bytes = b""


@dataclass
class _Book:
    """What all engines of one pretended cluster share."""

    folder: Path
    nodes: Sequence[str]
    cards: int
    entries: dict[tuple[str, str], _Entry] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def place(self) -> None:
        """Give waiting jobs their cards, first come first."""
        for entry in self.entries.values():
            if entry.process is None and not entry.cancelled:
                self._place(entry)

    def _place(self, entry: _Entry) -> None:
        job = entry.job
        for node in self.nodes if job.node is None else [job.node]:
            if node not in self.nodes or node in self.dead:
                continue
            free = sorted(set(range(self.cards)) - self.held(node))
            if job.kind != "cpu" and len(free) < job.cards:
                continue
            entry.node = node
            entry.cards = tuple(free[: job.cards]) if job.kind != "cpu" else ()
            self._begin(entry)
            return

    def held(self, node: str) -> set[int]:
        """List a node's cards that jobs have."""
        running = (e for e in self.entries.values() if e.node == node and _runs(e))
        return {card for entry in running for card in entry.cards}

    def _begin(self, entry: _Entry) -> None:
        variable = CARD_VARIABLES.get(entry.job.kind)
        cards = {variable: ",".join(map(str, entry.cards))} if variable and entry.cards else {}
        with self.log(entry.job.name).open("ab") as log:
            entry.process = subprocess.Popen(
                entry.job.words,
                env={**os.environ, **cards, **entry.job.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.out"


class ProcessEngine:
    """Implements ``engine.Engine``."""

    def __init__(self, book: _Book, mark: str) -> None:
        self._book = book
        self._mark = mark
        self.problem = ""
        self.dumb = False

    def submit(self, job: Job) -> None:
        if self.dumb:
            raise EngineSilent("the engine is dumb")
        with self._book.lock:
            self._book.entries.setdefault((self._mark, job.name), _Entry(job))
            self._book.place()

    def look(self) -> Mapping[str, JobReport] | None:
        if self.dumb:
            return None
        with self._book.lock:
            self._book.place()
            return {
                name: _report(entry)
                for (mark, name), entry in self._book.entries.items()
                if mark == self._mark
            }

    def cancel(self, name: str, *, force: bool) -> None:
        entry = self._book.entries.get((self._mark, name))
        if self.dumb or entry is None:
            return
        entry.cancelled = True
        if entry.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(entry.process.pid, signal.SIGKILL if force else signal.SIGTERM)

    def logs(self, name: str, max_bytes: int) -> str:
        with suppress(OSError):
            return self._book.log(name).read_bytes()[-max_bytes:].decode("utf-8", "ignore")
        return ""

    def forget(self, name: str) -> None:
        entry = self._book.entries.get((self._mark, name))
        if not self.dumb and entry and _report(entry).state is JobState.ENDED:
            del self._book.entries[self._mark, name]

    def probe(self) -> EngineFacts | None:
        if self.dumb:
            return None
        with self._book.lock:
            nodes = tuple(
                EngineNode(
                    node,
                    node,
                    node not in self._book.dead,
                    {"ascend": self._book.cards},
                    {"ascend": len(self._book.held(node))},
                )
                for node in self._book.nodes
            )
        return EngineFacts("process", "1", guarded=False, nodes=nodes)


class ProcessCluster:
    """Two pretended nodes of two cards each, both at addresses of this machine."""

    kind = "process"

    def __init__(
        self, folder: Path, nodes: Sequence[str] = ("127.0.0.2", "127.0.0.3"), cards: int = 2
    ) -> None:
        self.nodes = tuple(nodes)
        self.cards = cards
        self.book = _Book(folder, self.nodes, cards)

    def engine(self, mark: str = "ours") -> ProcessEngine:
        return ProcessEngine(self.book, mark)

    def lose_memory(self) -> None:
        """Forget all jobs; what runs runs on."""
        self._lost = getattr(self, "_lost", []) + list(self.book.entries.values())
        self.book.entries.clear()

    def end(self) -> None:
        """Kill every job; fails when one is left."""
        for entry in [*self.book.entries.values(), *getattr(self, "_lost", [])]:
            entry.cancelled = True
            if entry.process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(entry.process.pid, signal.SIGKILL)
                entry.process.wait(10)


def _runs(entry: _Entry) -> bool:
    return entry.process is not None and entry.process.poll() is None


def _report(entry: _Entry) -> JobReport:
    if entry.process is None:
        if entry.cancelled:
            return JobReport(JobState.ENDED, why="it was cancelled")
        return JobReport(JobState.QUEUED, why="no card is free")
    code = entry.process.poll()
    if code is None:
        return JobReport(JobState.RUNNING, entry.node, entry.node)
    return JobReport(JobState.ENDED, entry.node, entry.node, f"it ended with {code}")
