"""A launcher beside the local one: an engine with a queue, whose one node answers at 127.0.0.2.

It keeps nothing on the disk that the manager knows of, places a launch when the test says so, and
can be struck dumb. What it starts really runs and listens, so that a gate can be opened to it.
"""

from __future__ import annotations

import builtins
import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from manager.launcher.activity import Activity
from manager.launcher.protocol import LaunchFacts, LaunchSpec, Liveness, ProcessReport
from manager.records import Address, Node
from tests.support.waiting import wait_until

NODE = "127.0.0.2"
END_S = 10.0


class Engine:
    """Implements ``protocol.Launcher``; ``asked`` counts each question."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._specs: dict[str, LaunchSpec] = {}
        self._jobs: dict[str, subprocess.Popen[bytes]] = {}
        self._ports: dict[str, int] = {}
        self._cancelled: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.dumb = False
        self.tells_address = True
        self.sees_ports = True

    def place(self, launch_id: str) -> None:
        """Let a queued launch have its node."""
        spec = self._specs[launch_id]
        secret = self._folder / f"{launch_id}.secret"
        secret.touch(mode=0o600)
        secret.write_text(spec.secret or "")
        with socket.create_server((NODE, 0)) as free:
            port = free.getsockname()[1]
        self._ports[launch_id] = port
        with self._log(launch_id).open("ab") as log:
            self._jobs[launch_id] = subprocess.Popen(
                _elsewhere(spec.words(secret), port),
                cwd=spec.cwd,
                env=dict(spec.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self, spec: LaunchSpec) -> None:
        self.asked["start"] += 1
        self._specs.setdefault(spec.launch_id, spec)

    def poll(self, launch_id: str) -> ProcessReport:
        self.asked["poll"] += 1
        if self.dumb:
            return ProcessReport(Liveness.UNKNOWN)
        job = self._jobs.get(launch_id)
        if job is not None:
            code = job.poll()
            return ProcessReport(Liveness.ALIVE if code is None else Liveness.GONE, exit_code=code)
        waits = launch_id in self._specs and launch_id not in self._cancelled
        return ProcessReport(Liveness.QUEUED if waits else Liveness.GONE)

    def address(self, launch_id: str) -> Address | None:
        self.asked["address"] += 1
        port = self._ports.get(launch_id)
        return Address(NODE, port) if port and self.tells_address and not self.dumb else None

    def answers_itself(self, launch_id: str) -> bool | None:
        self.asked["answers_itself"] += 1
        job, port = self._jobs.get(launch_id), self._ports.get(launch_id)
        if self.dumb or job is None or job.poll() is not None:
            return None
        sockets = psutil.Process(job.pid).net_connections("tcp")
        listening = [s.laddr for s in sockets if s.status == psutil.CONN_LISTEN]
        return (NODE, port) in listening or None

    def stop(self, launch_id: str, *, force: bool) -> None:
        self.asked["stop"] += 1
        self._cancelled.add(launch_id)
        job = self._jobs.get(launch_id)
        if job is not None:
            job.kill() if force else job.terminate()

    def logs(self, launch_id: str, max_bytes: int) -> str:
        log = self._log(launch_id)
        return log.read_text(errors="replace")[-max_bytes:] if log.exists() else ""

    def describe(self, launch_id: str) -> LaunchFacts:
        spec = self._specs.get(launch_id)
        return LaunchFacts(spec.labels if spec else {}, None)

    def activity(self, launch_id: str) -> Activity | None:
        return None

    def taken(self, address: Address) -> bool | None:
        self.asked["taken"] += 1
        if self.dumb or not self.sees_ports:
            return None
        with socket.socket() as knocking:
            knocking.settimeout(1)
            return knocking.connect_ex((address.host, address.port)) == 0

    def holders(self, launch_id: str, device: Path) -> builtins.list[int] | None:
        return None

    def list(self) -> builtins.list[str] | None:
        if self.dumb:
            return None
        return [one for one in self._specs if self.poll(one).liveness is not Liveness.GONE]

    def prune(self, keep: int) -> int:
        return 0

    def probe(self) -> tuple[Node, ...]:
        return (Node("far", "directories", 0, (), {}, root=False),)

    def jobs(self) -> builtins.list[subprocess.Popen[bytes]]:
        """List what was ever placed."""
        return [*self._jobs.values()]

    def _log(self, launch_id: str) -> Path:
        return self._folder / f"{launch_id}.log"


def _elsewhere(words: Sequence[str], port: int) -> list[str]:
    """Have a program listen where its node is reached, instead of on the loopback it was told."""
    changed = list(words)
    changed[changed.index("--listen") + 1] = NODE
    changed[changed.index("--port") + 1] = str(port)
    return changed


@contextmanager
def engine(folder: Path) -> Iterator[Engine]:
    """Lend an engine; end all its jobs afterwards and prove that no process of them is left."""
    folder.mkdir()
    lent = Engine(folder)
    try:
        yield lent
    finally:
        for job in lent.jobs():
            if job.poll() is None:
                os.killpg(job.pid, 9)
            job.wait(END_S)
        wait_until(lambda: not _left(folder), END_S, "no process is left")


def _left(folder: Path) -> list[int]:
    processes = psutil.process_iter(["cmdline"])
    return [
        process.pid
        for process in processes
        if any(str(folder) in word for word in process.info["cmdline"] or ())
    ]
