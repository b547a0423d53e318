"""A real Ray of two machines on this one, at 127.0.0.2 and 127.0.0.3, two pretended NPUs on each.

Ray takes 127.0.0.1 for a mistake and looks for the machine's own address instead; other loopback
addresses it takes as they are. Its GCS and raylets listen on all addresses, which no option
changes, and so ask for the cluster's token.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from manager.launcher.ray.engine import RayEngine
from tests.support.daemons import Daemon
from tests.support.ports import free_ports
from tests.support.real_ray import Install, default_home
from tests.support.waiting import wait_until

CARDS = 2
NODES = ("127.0.0.2", "127.0.0.3")
BEGIN_S = 120.0
GIVES_UP_S = 900
"""After so long Ray ends a job that waits for its place, if nothing else is said."""


class RayCluster:
    """The cluster: ``head`` and ``worker``, each with all that is below it."""

    kind = "ray"
    nodes = NODES
    cards = CARDS
    head: Daemon
    worker: Daemon

    def __init__(self, folder: Path, gives_up_s: int = GIVES_UP_S) -> None:
        self._gives_up_s = gives_up_s
        install = Install(default_home())
        assert install.is_ready, "no Ray here; ./start_manager.sh test --real installs one"
        self._ray = str(install.programs / "ray")
        self._folder = folder
        # The path of a socket may have 107 letters, of which Ray's own take 70.
        self._temp = tempfile.TemporaryDirectory(prefix="cmm-ray-", ignore_cleanup_errors=True)
        self.token_file = folder / "token"
        with open(self.token_file, "x", opener=_private) as file:
            file.write(secrets.token_hex(32))
        self._gcs, self.port, *self._agents = free_ports(5)
        self.address = f"http://127.0.0.1:{self.port}"
        self._begun: list[Daemon] = []

    def engine(self, mark: str = "ours", **more: object) -> RayEngine:
        return RayEngine(self.address, mark, **{"token_file": self.token_file, **more})  # type: ignore[arg-type]

    def settings(self) -> dict[str, str]:
        """Give what a manager needs to use it."""
        file = str(self.token_file)
        return {"LAUNCHER": "ray", "RAY_ADDRESS": self.address, "RAY_TOKEN_FILE": file}

    def begin(self) -> None:
        """Begin both machines."""
        self.begin_head()
        self.begin_worker()

    def mend(self) -> None:
        """Begin anew what a test has killed; with the head all machines, as in real life."""
        if not any(self.head.named("gcs_server")):
            self._end_all()
            self.begin()
        elif not any(self.worker.named("raylet")):
            self.worker.end()
            self.begin_worker()

    def begin_head(self) -> None:
        """Begin a head that knows nothing of an earlier one, and wait until it answers."""
        words = [
            *("--head", "--port", str(self._gcs), "--node-ip-address", NODES[0]),
            *("--dashboard-host", "127.0.0.1", "--dashboard-port", str(self.port)),
            *("--ray-client-server-port", str(self._agents[2]), "--include-log-monitor", "false"),
            *("--dashboard-agent-listen-port", str(self._agents[0]), "--temp-dir", self._temp.name),
        ]
        self.head = self._begin(words, "head")
        engine = self.engine()

        def answers() -> bool:
            self._fell(self.head)
            return engine.probe() is not None

        wait_until(answers, BEGIN_S, "the head answers")

    def begin_worker(self) -> None:
        """Begin the second machine, and wait until the head counts both."""
        words = [
            *("--address", f"{NODES[0]}:{self._gcs}", "--node-ip-address", NODES[1]),
            *("--dashboard-agent-listen-port", str(self._agents[1])),
        ]
        self.worker = self._begin(words, "worker")
        engine = self.engine()

        def complete() -> bool:
            facts = engine.probe()
            self._fell(self.worker)
            return facts is not None and [n.name for n in facts.nodes if n.alive] == [*NODES]

        wait_until(complete, BEGIN_S, "both machines are there")

    def _fell(self, daemon: Daemon) -> None:
        """Fail at once, with what it printed last, where one could not begin."""
        assert daemon.tree(), daemon.log.read_text()[-2000:]

    def _begin(self, words: list[str], name: str) -> Daemon:
        env = {
            **os.environ,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_JOB_START_TIMEOUT_SECONDS": str(self._gives_up_s),
            "RAY_DISABLE_DOCKER_CPU_WARNING": "1",
        }
        common = [
            *("--block", "--disable-usage-stats", "--object-store-memory", "80000000"),
            # Else 10002 to 19999, where our own ports are.
            *("--min-worker-port", "0", "--max-worker-port", "0"),
            *("--num-cpus", "2", "--num-gpus", "0", "--resources", json.dumps({"NPU": CARDS})),
        ]
        words = [self._ray, "start", *words, *common]
        begun = Daemon(words, self._folder / f"{name}.log", env)
        self._begun.append(begun)
        return begun

    def end(self) -> None:
        """End all that was begun; fails when a process is left."""
        try:
            self._end_all()
        finally:
            self._temp.cleanup()

    def _end_all(self) -> None:
        with ExitStack() as stack:
            for daemon in self._begun:
                stack.callback(daemon.end)
            self._begun = []


@contextmanager
def ray_cluster(folder: Path, gives_up_s: int = GIVES_UP_S) -> Iterator[RayCluster]:
    cluster = RayCluster(folder, gives_up_s)
    try:
        cluster.begin()
        yield cluster
    finally:
        cluster.end()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
