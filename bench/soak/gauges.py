"""What the soak looks at while people live: whatever could grow without end."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from manager.launcher.local import LocalLauncher
from tests.support.chaos import query
from tests.support.server import ManagerProcess

WARM_UP_S = 60.0
"""Of a process's life that tells nothing of a slope: modules, pools and caches fill."""

MIB = 1 << 20


@dataclass(frozen=True)
class Sample:
    """One look. ``process`` maps manager and Caddy to their pid; a gauge is a plain number."""

    at: float
    process: dict[str, int]
    gauges: dict[str, float] = field(default_factory=dict)


class Gauges:
    """Looks at one manager, and keeps all looks."""

    def __init__(self, manager: ManagerProcess) -> None:
        """Bind."""
        self._manager = manager
        self._launcher = LocalLauncher(manager.data_dir / "runs")
        self.samples: list[Sample] = []
        self.double_holds: list[str] = []

    def look(self) -> None:
        """Take one look; what is just being killed is left out."""
        found: dict[str, float] = {}
        pids: dict[str, int] = {}
        for name, pid in self._pids().items():
            with contextlib.suppress(psutil.Error):
                found |= {f"{name} {what}": value for what, value in of_process(pid)}
                pids[name] = pid
        found |= dict(self._of_files())
        found |= dict(self._rows())
        self._watch_holds()
        self.samples.append(Sample(time.monotonic(), pids, found))

    def _pids(self) -> dict[str, int]:
        assert self._manager.process is not None
        pids = {"manager": self._manager.process.pid}
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = (self._manager.data_dir / "caddy" / "caddy.json").read_text("utf-8")
            pids["Caddy"] = int(json.loads(record)["pid"])
        return pids

    def _watch_holds(self) -> None:
        """Look for two living launches of one port or one user; the clock has no part in it."""
        holders: Counter[str] = Counter()
        for launch_id in self._launcher.list():
            labels = self._launcher.describe(launch_id).labels
            holders.update(f"{what} {labels.get(what)}" for what in ("port", "username"))
        self.double_holds += [f"twice at once: {what}" for what, n in holders.items() if n > 1]

    def _of_files(self) -> Iterable[tuple[str, float]]:
        folder, data = self._manager.folder, self._manager.data_dir
        logs = [*folder.glob("*.log*"), folder / "output.txt", *(data / "caddy").glob("*.log")]
        yield "logs, KiB", total(logs) / 1024
        # Folders come and go meanwhile.
        runs = [Path(at) / name for at, _, names in os.walk(data / "runs") for name in names]
        instance_logs = [path for path in runs if path.name.startswith("log")]
        yield "instance logs, KiB", total(instance_logs) / 1024
        yield "run folders", sum(1 for _ in data.glob("runs/*"))
        yield "database, KiB", total(folder.glob("*.db*")) / 1024
        yield "kept files", sum(1 for _ in data.glob("workspaces/*/unfinished-*"))

    def _rows(self) -> Iterable[tuple[str, float]]:
        names = query(self._manager, "SELECT name FROM sqlite_master WHERE type = 'table'")
        for (name,) in names:
            (row,) = query(self._manager, f'SELECT count(*) FROM "{name}"')
            yield f"rows of {name}", float(row[0])


def of_process(pid: int) -> Iterable[tuple[str, float]]:
    """Give what a process holds."""
    process = psutil.Process(pid)
    yield "memory, MiB", process.memory_info().rss / MIB
    yield "open files", float(process.num_fds())
    yield "sockets", float(len(process.net_connections("all")))
    yield "threads", float(process.num_threads())


def total(paths: Iterable[Path]) -> float:
    """Sum up the sizes of files; one that goes away meanwhile counts nothing."""
    size = 0
    for path in paths:
        with contextlib.suppress(OSError):
            size += path.stat().st_size
    return float(size)


def longest_life(samples: Sequence[Sample], name: str) -> list[Sample]:
    """Give the looks at the longest life of a process, without its first minute."""
    lives: dict[int, list[Sample]] = {}
    for one in samples:
        if name in one.process:
            lives.setdefault(one.process[name], []).append(one)
    life = max(lives.values(), key=lambda of: of[-1].at - of[0].at, default=[])
    return [one for one in life if one.at - life[0].at >= WARM_UP_S]


@dataclass(frozen=True)
class Course:
    """How a gauge went; ``slope`` is per hour, ``late`` the same of the second half."""

    first: float
    last: float
    most: float
    slope: float
    late: float


def course(samples: Sequence[Sample], gauge: str) -> Course | None:
    """Sum up a gauge; None where there are too few looks."""
    seen = [(one.at, one.gauges[gauge]) for one in samples if gauge in one.gauges]
    if len(seen) < 4:
        return None
    values = [value for _, value in seen]
    half = seen[len(seen) // 2 :]
    return Course(values[0], values[-1], max(values), _per_hour(seen), _per_hour(half))


def _per_hour(seen: Sequence[tuple[float, float]]) -> float:
    ats, values = zip(*seen, strict=True)
    if len(set(ats)) < 2:
        return 0.0
    return statistics.linear_regression(ats, values).slope * 3600


def table(samples: Sequence[Sample]) -> list[str]:
    """Write all gauges, those of a process over its longest life."""
    lines = [f"{'':30}{'first':>10}{'last':>10}{'most':>10}{'an hour':>10}{'2nd half':>10}"]
    names = sorted({name for one in samples for name in one.gauges})
    for name in names:
        owner = name.split()[0]
        of = longest_life(samples, owner) if owner in {"manager", "Caddy"} else samples
        found = course(of, name)
        if found is not None and found.most > 0:
            values = (found.first, found.last, found.most, found.slope, found.late)
            lines.append(f"{name:30}" + "".join(f"{value:10.1f}" for value in values))
    return lines
