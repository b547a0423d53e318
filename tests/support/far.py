"""An engine of processes: its nodes are addresses of the loopback, its jobs run below a daemon.

It can be struck dumb, lose answers and its memory, refuse, and end jobs as badly as engines do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from manager.addresses import AUTHORITY
from manager.errors import EngineSilent, LaunchFailed
from manager.launcher.engine import EngineFacts, EngineNode, Job, JobReport, JobState
from manager.launcher.far import claims, settle
from manager.launcher.far.authority import Authority
from manager.launcher.far.begin import Placement
from manager.launcher.far.launcher import FarLauncher
from manager.launcher.processes import MARKER
from manager.launcher.protocol import LaunchSpec
from tests.support.waiting import wait_until

NODES = {"one": "127.0.0.2", "two": "127.0.0.3"}
END_S = 20.0

DAEMON = "import subprocess, sys; sys.exit(subprocess.Popen(sys.argv[1:]).wait())"
"""What a raylet or a slurmstepd is to a job: its parent."""


@dataclass
class Running:
    job: Job
    daemon: subprocess.Popen[bytes]


@dataclass
class ProcessEngine:
    """Implements ``engine.Engine``; ``asked`` counts each question."""

    folder: Path
    nodes: Mapping[str, str] = field(default_factory=lambda: dict(NODES))
    places: bool = True
    dumb: bool = False
    loses_answers: bool = False
    loses_jobs: bool = False
    refuses: str = ""
    env: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    asked: Counter[str] = field(default_factory=Counter)
    taken: dict[str, Job] = field(default_factory=dict)
    ever: list[Running] = field(default_factory=list)
    _cancelled: set[str] = field(default_factory=set)

    def submit(self, job: Job) -> None:
        self.asked["submit"] += 1
        if self.refuses:
            raise LaunchFailed(self.refuses)
        if self.loses_jobs:
            raise EngineSilent("nobody answers")
        if job.name not in self.taken:
            self.taken[job.name] = job
            if self.places:
                self.place(job.name)
        if self.loses_answers:
            raise EngineSilent("the answer got lost")

    def place(self, name: str) -> Running:
        """Give a job its node; a second time it runs a second time."""
        job = self.taken[name]
        with (self.folder / f"{name}.out").open("ab") as out:
            daemon = subprocess.Popen(
                [*self.before, sys.executable, "-I", "-S", "-c", DAEMON, *job.words],
                env={"PATH": os.environ["PATH"], **self.env, **job.env},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        running = Running(job, daemon)
        self.ever.append(running)
        return running

    def look(self) -> Mapping[str, JobReport] | None:
        self.asked["look"] += 1
        return None if self.dumb else {name: self._report(name) for name in list(self.taken)}

    def _report(self, name: str) -> JobReport:
        running = [one for one in self.ever if one.job.name == name]
        node = self.taken[name].node or "one"
        if name in self._cancelled and not running:
            return JobReport(JobState.ENDED, why="cancelled")
        if not running:
            return JobReport(JobState.QUEUED, why="no card is free")
        ended = all(one.daemon.poll() is not None for one in running)
        state = JobState.ENDED if ended else JobState.RUNNING
        return JobReport(state, node, self.nodes[node], "it ended" if ended else "")

    def cancel(self, name: str, *, force: bool) -> None:
        """As Ray does: the daemon's direct child alone, and the daemon."""
        self.asked["cancel"] += 1
        self._cancelled.add(name)
        for one in self.ever:
            if one.job.name == name and one.daemon.poll() is None:
                for child in psutil.Process(one.daemon.pid).children():
                    child.send_signal(signal.SIGKILL if force else signal.SIGTERM)

    def logs(self, name: str, max_bytes: int) -> str:
        path = self.folder / f"{name}.out"
        return path.read_text(errors="replace")[-max_bytes:] if path.exists() else ""

    def forget(self, name: str) -> None:
        self.asked["forget"] += 1
        self.taken.pop(name, None)

    def probe(self) -> EngineFacts | None:
        nodes = [EngineNode(name, host, True, {"cpu": 4}) for name, host in self.nodes.items()]
        return None if self.dumb else EngineFacts("processes", "1", True, tuple(nodes))

    def lose_memory(self) -> None:
        """Forget all jobs; what runs goes on."""
        self.taken.clear()

    def running(self, name: str) -> list[Running]:
        return [one for one in self.ever if one.job.name == name and one.daemon.poll() is None]


@dataclass
class Cluster:
    """A data directory that all nodes share, and what runs there."""

    data_dir: Path
    engine: ProcessEngine
    node: str | None = "one"
    any_port: bool = False
    kind: str = "cpu"
    reach: str = ""

    @property
    def authority(self) -> Authority:
        return Authority(self.data_dir / AUTHORITY)

    @property
    def runs_dir(self) -> Path:
        return self.data_dir / "runs"

    def place(self, spec: LaunchSpec) -> Placement:
        host = self.engine.nodes.get(self.node or "")
        hosts = (host,) if host else ()
        return Placement(self.node, 1, self.kind, hosts, self.any_port)

    def launcher(self, **more: object) -> FarLauncher:
        """Make a manager's launcher; another one is another manager on the same disk."""
        return FarLauncher(
            self.runs_dir,
            self.engine,
            place=self.place,
            authority=self.authority,
            reach=self.reach,
            **{"python": sys.executable, **more},  # type: ignore[arg-type]
        )

    def pid(self, launch_id: str) -> int:
        """Give the process number of a launch's program on its node."""
        wait_until(lambda: "pid" in claims.read(self.runs_dir / launch_id), what="a claim")
        return int(claims.read(self.runs_dir / launch_id)["pid"])

    def supervisor(self, launch_id: str) -> int:
        record = self.runs_dir / launch_id / "record"
        wait_until(lambda: "child" in claims.read_file(record), what="a record")
        return int(claims.read_file(record)["supervisor"][0])

    def main(self, launch_id: str) -> int:
        self.supervisor(launch_id)
        return int(claims.read_file(self.runs_dir / launch_id / "record")["child"][0])


def left(folder: Path) -> list[int]:
    """List the processes that name the folder or bear the mark of a launch in it, zombies not."""
    found = []
    launches = {path.name for path in (folder / "data" / "runs").glob("*")}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            env = process.environ()
            words = [*process.cmdline(), *env.values()]
            mine = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            if mine and (env.get(MARKER) in launches or any(str(folder) in one for one in words)):
                found.append(process.pid)
    return found


@contextmanager
def cluster(folder: Path, **engine: object) -> Iterator[Cluster]:
    """Lend a cluster; end all that runs on it afterwards, and prove that nothing is left."""
    folder.mkdir(parents=True, exist_ok=True)
    lent = Cluster(folder / "data", ProcessEngine(folder, **engine))  # type: ignore[arg-type]
    try:
        yield lent
    finally:
        for path in lent.runs_dir.iterdir() if lent.runs_dir.exists() else ():
            if path.is_dir():
                (path / "order").write_text("kill")
        for one in lent.engine.ever:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.daemon.wait(END_S)
        # Whose own programs a test has killed: by their marks.
        if lent.runs_dir.exists():
            settle.main(lent.runs_dir)
        wait_until(_nobody(folder), END_S, "no process is left")
        for one in lent.engine.ever:
            one.daemon.wait(END_S)


@dataclass(frozen=True)
class Network:
    """A node in a network of its own, joined to this machine's by one cable."""

    name: str
    here: str
    there: str

    @property
    def inside(self) -> tuple[str, ...]:
        """Give the words that run a program on that node."""
        return ("ip", "netns", "exec", self.name)

    def cable(self, state: str) -> None:
        """Pull it out at the node's end (``down``), or put it in (``up``): the way there stays."""
        _ip("-n", self.name, "link", "set", f"{self.name}b", state)


@contextmanager
def network() -> Iterator[Network]:
    """Lend a network; needs root."""
    number = os.getpid() % 60_000
    name, net = f"cmm{number}", f"10.203.{number % 250}"
    lent = Network(name, f"{net}.1", f"{net}.2")
    _ip("netns", "add", name)
    try:
        _ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
        _ip("addr", "add", f"{lent.here}/30", "dev", f"{name}a")
        _ip("link", "set", f"{name}a", "up")
        _ip("-n", name, "addr", "add", f"{lent.there}/30", "dev", f"{name}b")
        for device in (f"{name}b", "lo"):
            _ip("-n", name, "link", "set", device, "up")
        yield lent
    finally:
        subprocess.run(["ip", "link", "del", f"{name}a"], capture_output=True, check=False)
        _ip("netns", "del", name)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


def _nobody(folder: Path) -> Callable[[], bool]:
    def once() -> bool:
        return not left(folder)

    return once
