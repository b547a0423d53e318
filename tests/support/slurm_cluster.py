"""A real Slurm of two machines on this one, with two pretended GPUs each, as root.

All that it has and says is in a folder of its own: another Slurm or munge of this machine is not
touched. The controller's and the machines' ports listen on all addresses, which no option changes,
and are munge's with a key of their own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from manager.launcher.slurm.engine import SlurmEngine
from tests.support.daemons import Daemon
from tests.support.ports import free_ports
from tests.support.waiting import wait_until

CARDS = 2
NODES = ("n1", "n2")
ADDRESSES = ("127.0.0.2", "127.0.0.3")
BEGIN_S = 60.0
SILENT_S = 10
"""After so long a machine that does not answer counts as down."""

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol", "scancel")

CONF = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SlurmdTimeout={silent}
KillWait=30
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SlurmCluster:
    """The cluster: ``munge``, ``controller`` and ``machines``, each with all that is below it."""

    kind = "slurm"
    nodes = NODES
    cards = CARDS
    controller: Daemon

    def __init__(self, logs: Path) -> None:
        missing = [name for name in PROGRAMS if not shutil.which(name)]
        assert not missing, (
            f"no {', '.join(missing)} here; ./start_manager.sh test --slurm has them"
        )
        assert os.geteuid() == 0, "a Slurm can be begun by root alone"
        self._logs = logs
        # The path of a socket may have 107 letters.
        self._temp = tempfile.TemporaryDirectory(prefix="cmm-slurm-", ignore_cleanup_errors=True)
        self._folder = Path(self._temp.name)
        self._conf = self._folder / "slurm.conf"
        self.environ = {**os.environ, "SLURM_CONF": str(self._conf)}
        self._begun: list[Daemon] = []
        self.machines: dict[str, Daemon] = {}
        self._configure()

    def _configure(self) -> None:
        folder = self._folder
        # Others than root must be able to reach munge's socket, as it demands itself.
        folder.chmod(0o711)
        for name in ("state", "munge", *NODES):
            (folder / name).mkdir(mode=0o755)
        with open(folder / "key", "xb", opener=_private) as key:
            key.write(secrets.token_bytes(1024))
        port, *ports = free_ports(1 + len(NODES))
        host = socket.gethostname().partition(".")[0]
        text = CONF.format(host=host, port=port, folder=folder, silent=SILENT_S)
        gres = ""
        for node, address, own in zip(NODES, ADDRESSES, ports, strict=True):
            text += (
                f"NodeName={node} NodeHostname={host} NodeAddr={address} Port={own} CPUs=8 "
                f"RealMemory=1000 Gres=gpu:{CARDS}\n"
            )
            for card in range(CARDS):
                device = folder / f"{node}-card{card}"
                os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
            gres += f"NodeName={node} Name=gpu File={folder}/{node}-card[0-{CARDS - 1}]\n"
        self._conf.write_text(text)
        (folder / "gres.conf").write_text(gres)

    def engine(self, mark: str = "ours") -> SlurmEngine:
        return SlurmEngine(mark, gres="gpu", kind="ascend", environ=self.environ)

    def settings(self) -> dict[str, str]:
        """Give what a manager needs to use it."""
        return {"LAUNCHER": "slurm", "SLURM_GRES": "gpu", "SLURM_CONF": str(self._conf)}

    def begin(self) -> None:
        """Begin all of it, and wait until both machines are there."""
        files = {"socket": "munge/socket", "key-file": "key", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        options = [f"--{name}={self._folder / path}" for name, path in files.items()]
        self.munge = self._begin("munged", "--foreground", "--force", *options)
        wait_until((self._folder / "munge/socket").exists, BEGIN_S, "munge listens")
        self.begin_controller()
        for node in NODES:
            self.begin_machine(node)
        self.wait_until_whole()

    def begin_controller(self) -> None:
        """Begin the controller; of one before it knows what that had saved."""
        self.controller = self._begin("slurmctld", "-D", "-f", str(self._conf))

    def begin_machine(self, node: str) -> None:
        """Begin a machine, whose jobs of before run on."""
        self.machines[node] = self._begin("slurmd", "-D", "-N", node, "-f", str(self._conf))

    def wait_until_saved(self) -> None:
        """Wait until the controller has written down how its jobs are.

        It does so some seconds after a change, so it is given one.
        """
        saved, now = self._folder / "state" / "job_state", time.time()
        words = ["sbatch", "--wrap=true", "--output=/dev/null", "--chdir=/"]
        subprocess.run(words, env=self.environ, check=True, capture_output=True, timeout=60)
        wait_until(
            lambda: saved.exists() and saved.stat().st_mtime > now, BEGIN_S, "its state is saved"
        )

    def wait_until_whole(self) -> None:
        engine = self.engine()

        def whole() -> bool:
            facts = engine.probe()
            return facts is not None and [n.name for n in facts.nodes if n.alive] == [*NODES]

        wait_until(whole, BEGIN_S, "both machines are there")

    def _begin(self, *words: str) -> Daemon:
        name = Path(words[0]).name
        daemon = Daemon(words, self._logs / f"{name}.log", self.environ)
        self._begun.append(daemon)
        return daemon

    def end(self) -> None:
        """End all that was begun; fails when a process is left."""
        with ExitStack() as stack:
            stack.callback(self._temp.cleanup)
            for daemon in self._begun:
                stack.callback(daemon.end)


@contextmanager
def slurm_cluster(logs: Path) -> Iterator[SlurmCluster]:
    cluster = SlurmCluster(logs)
    try:
        cluster.begin()
        yield cluster
    finally:
        cluster.end()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o400)
