"""Slurm as an engine, by sbatch, squeue, scontrol and scancel, as the manager's own account.

Slurm gives numbers, not names, and takes a second job of the same name. So a receipt in the job's
folder says that it was handed in, the list is looked at before, and a lock keeps two managers from
doing it at once. A manager that dies between both leaves no receipt, but a job in the list.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from manager import runtime
from manager.errors import EngineSilent, LaunchFailed
from manager.launcher.engine import EngineFacts, Job, JobReport, JobState
from manager.launcher.slurm import words
from manager.launcher.slurm.tools import Done, Silent, Tools

logger = logging.getLogger(__name__)

RECEIPT = "slurm.job"
NODES_S = 60.0
"""How long the machines' addresses serve; one that is not among them is asked for at once."""

AGAIN_S = 10.0
"""How long Slurm is not asked again when it did not answer: each of its commands waits for many
seconds then, and whoever starts or stops the manager would wait for all of them."""

UNSURE = ("Unable to contact", "Socket timed out", "timed out", "Communication", "Zero Bytes")
"""With these words the controller was not reached, or did not answer in time."""


class SlurmEngine:
    """Implements ``engine.Engine``. ``problem`` says why the last question had no answer."""

    def __init__(
        self,
        mark: str,
        *,
        gres: str = "gpu",
        kind: str = "cuda",
        more: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Say by which comment this manager knows its jobs, and what cards are called there.

        ``more`` are further options of sbatch, such as partition and account.
        """
        self.problem = ""
        self._mark, self._gres, self._kind = mark, gres, kind
        self._more = tuple(more)
        self._tools = Tools(os.environ if environ is None else environ)
        self._lock = threading.Lock()
        self._forgotten: set[str] = set()
        self._hosts: Mapping[str, str] = {}
        self._hosts_at = -NODES_S
        self._ask_again_at = 0.0

    def submit(self, job: Job) -> None:
        """Hand a job in, unless it was; see the module."""
        folder = Path(job.folder)
        try:
            with _locked(folder / "slurm.lock"):
                if (folder / RECEIPT).exists():
                    return
                number = self._number(job.name) or self._handed_in(job)
                (folder / RECEIPT).write_text(f"{number}\n", encoding="ascii")
        except OSError as error:
            raise LaunchFailed(f"{folder} cannot be used: {error.strerror}") from error

    def look(self) -> Mapping[str, JobReport] | None:
        """Say how all jobs of this manager are; None when Slurm does not say."""
        found = self._jobs()
        if found is None:
            return None
        with self._lock:
            self._forgotten &= found.keys()
            gone = set(self._forgotten)
        return {name: one.report for name, one in found.items() if name not in gone}

    def cancel(self, name: str, *, force: bool) -> None:
        """Have Slurm end a job: SIGTERM, after ``KillWait`` SIGKILL; ``force`` kills at once.

        Not a signal alone: one to a job that is just being begun is lost.
        """
        job = (self._jobs() or {}).get(name)
        if job is None or job.state is JobState.ENDED:
            return
        if job.state is JobState.RUNNING and force:
            self._order("scancel", "--full", "--signal=KILL", job.number)
        self._order("scancel", job.number)

    def logs(self, name: str, max_bytes: int) -> str:
        """Give the end of what the batch script printed."""
        number = self._number(name, silent="")
        done = self._asked("scontrol", "--oneliner", "show", "job", number) if number else None
        path = words.fields(done.printed).get("StdOut") if done else None
        # It is shown as it was given.
        return runtime.offload(_tail, path.replace("%%", "%"), max_bytes) if path else ""

    def forget(self, name: str) -> None:
        """Tell no more of a job that has ended; Slurm itself forgets it after ``MinJobAge``."""
        job = (self._jobs() or {}).get(name)
        if job is not None and job.state is JobState.ENDED:
            with self._lock:
                self._forgotten.add(name)

    def probe(self) -> EngineFacts | None:
        """Say what Slurm is and which machines it has; None: it does not answer."""
        about = self._asked("scontrol", "--version")
        listed = self._asked("scontrol", "--oneliner", "--details", "show", "nodes")
        if about is None or listed is None:
            return None
        nodes = words.nodes(listed.printed, self._gres, self._kind)
        self._hosts, self._hosts_at = {n.name: n.host for n in nodes}, time.monotonic()
        # Slurm does not run without munge or another plugin that says who asks.
        return EngineFacts("slurm", words.version(about.printed), guarded=True, nodes=nodes)

    def _handed_in(self, job: Job) -> str:
        """Hand it in and give its number."""
        line = words.submission(job, self._mark, self._gres, self._more)
        try:
            done = self._tools.run(*line, given=words.script(job))
        except Silent as error:
            self._note(str(error))
            raise EngineSilent(f"Slurm did not say whether it took the job: {error}") from None
        if done.code == 0:
            return done.printed.strip().partition(";")[0]
        if any(word in done.errors for word in UNSURE):
            raise EngineSilent(f"Slurm did not say whether it took the job: {done.why}")
        raise LaunchFailed(f"Slurm refuses it: {done.why}")

    def _number(self, name: str, silent: str | None = None) -> str:
        """Give a job's number in the list, empty where it is not in it.

        Raises:
            EngineSilent: the list cannot be had, and ``silent`` was not given instead.
        """
        found = self._jobs()
        if found is not None:
            return found[name].number if name in found else ""
        if silent is None:
            raise EngineSilent(f"Slurm does not say which jobs it has: {self.problem}")
        return silent

    def _jobs(self) -> dict[str, words.Listed] | None:
        options = ("--noheader", "--states=all", f"--user={os.geteuid()}")
        done = self._asked("squeue", *options, f"--format={words.FORMAT}")
        if done is None:
            return None
        return words.jobs(done.printed, self._mark, self._addresses())

    def _addresses(self) -> Mapping[str, str]:
        if time.monotonic() - self._hosts_at > NODES_S:
            # Also when there is no answer: not again with each look.
            self._hosts_at = time.monotonic()
            self.probe()
        return self._hosts

    def _asked(self, *line: str) -> Done | None:
        """Ask, and give the answer if it is one."""
        if time.monotonic() < self._ask_again_at:
            return None
        try:
            done = self._tools.run(*line)
        except Silent as error:
            self._unheard(str(error))
            return None
        if done.code:
            if any(word in done.errors for word in UNSURE):
                self._unheard(done.why)
            self._note(done.why)
            return None
        self._note("")
        return done

    def _unheard(self, problem: str) -> None:
        self._ask_again_at = time.monotonic() + AGAIN_S
        self._note(problem)

    def _order(self, *line: str) -> None:
        try:
            done = self._tools.run(*line)
        except Silent as error:
            self._note(str(error))
            return
        if done.code:
            logger.info("Slurm refuses %s: %s", " ".join(line), done.why)

    def _note(self, problem: str) -> None:
        """Keep and log a problem, once."""
        if problem and problem != self.problem:
            logger.warning("Slurm does not answer as it should: %s", problem)
        elif self.problem and not problem:
            logger.info("Slurm answers again")
        self.problem = problem


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Be the only one here; who holds it for long is asking Slurm, too.

    Raises:
        EngineSilent: somebody else is about to hand it in.
        OSError: the folder cannot be used.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EngineSilent("somebody else is handing this job in") from None
        yield
    finally:
        os.close(file)


def _tail(path: str, max_bytes: int) -> str:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        about = os.fstat(file)
        if not stat.S_ISREG(about.st_mode):
            return ""
        found = os.pread(file, max_bytes, max(0, about.st_size - max_bytes))
        return found.decode("utf-8", "ignore")
    except OSError:
        return ""
    finally:
        os.close(file)
