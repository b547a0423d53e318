"""Process trees on other machines, each a job of an engine and below a supervisor of its own there.

The truth about a launch is on the storage that all machines share (see ``files.py``, ``node.py``),
never in this object nor in the engine's: a manager that was killed finds the same launches, and an
engine that lost its memory loses none. It only places jobs. So of a launch

- a node has claimed: it is ALIVE while its beat goes on changing here, GONE when its supervisor or
  the node's program says that nothing is left; else UNKNOWN, whatever the engine says;
- nobody has claimed: it is as the engine says; what that has lost is submitted again under the same
  name, and one that was called off, or whose job ended first, is GONE, since no job of its name can
  claim it any more. Until that is certain it is UNKNOWN.

Every instance is asked by TLS, by the certificate of its own launch, and with its secret.
"""

from __future__ import annotations

import builtins
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from manager.errors import LaunchFailed
from manager.launcher import logs, runs
from manager.launcher.activity import Activity
from manager.launcher.engine import Engine, EngineFacts
from manager.launcher.far.authority import Authority
from manager.launcher.far.begin import Begin, Placement, meta_of
from manager.launcher.far.files import FarRun, activity_of
from manager.launcher.far.jobs import Jobs
from manager.launcher.far.known import KnownRuns, pruned
from manager.launcher.far.states import States
from manager.launcher.isolation import DIRECTORIES, Isolation
from manager.launcher.protocol import LaunchFacts, LaunchSpec, Liveness, ProcessReport
from manager.launcher.refusals import reason_of
from manager.records import Address, Node
from manager.runtime import offload

GRACE_S = 2.0
"""For a polite end after an engine's SIGTERM: Ray kills what is left after 3 s (its
``RAY_JOB_STOP_WAIT_TIME_S``), Slurm after 30 s (``KillWait``)."""

STUCK_AFTER_S = 10.0
"""Time a node's program has for a kill, before the engine is asked to kill as it does."""

KNOCK_S = 0.5

CURRENT_S = 3.0
"""Age up to which a beat tells what a tree does now."""

_UNKNOWN = ProcessReport(Liveness.UNKNOWN)


class FarLauncher:
    """Implements ``protocol.Launcher`` on an engine. ``run`` is a loop for a thread of its own."""

    def __init__(
        self,
        runs_dir: Path,
        engine: Engine,
        *,
        place: Callable[[LaunchSpec], Placement],
        authority: Authority,
        python: str,
        reach: str = "",
        grace_s: float = GRACE_S,
        isolation: Isolation | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; nothing is asked or written yet.

        Args:
            runs_dir: one directory a launch, on storage that all nodes have at the same path.
            engine: places the jobs.
            place: says where a launch is to run; may raise LaunchFailed.
            authority: signs the certificates.
            python: the Python on the nodes; see ``Begin`` for this and the following.
            reach: the manager's address as nodes see it.
            grace_s: seconds for a polite end when the engine ends a job.
            isolation: what launches are confined with; None: ``directories``.
            monotonic: gives seconds that only pass.
        """
        self._runs_dir = runs_dir
        self._engine = engine
        self._place = place
        self._authority = authority
        self._begin = Begin(python, reach, grace_s, isolation)
        self._monotonic = monotonic
        self._jobs = Jobs(engine, monotonic)
        self._known = KnownRuns(runs_dir)
        self._states = States(runs_dir, self._known, self._jobs, self._begin, monotonic)
        self._begun: set[str] = set()
        self._forced_at: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def run(self, stop: threading.Event) -> None:
        """Ask the engine how its jobs are, once a second, until told to stop."""
        self._jobs.run(stop)

    def start(self, spec: LaunchSpec) -> None:
        """Begin a launch; the same id a second time starts nothing.

        Raises:
            LaunchFailed: the engine refused it, or it cannot be written; nothing of it will run.
        """
        run = self._run(spec.launch_id)
        try:
            if not offload(run.whole):
                self._write(run, spec)
            offload(self._known.note)
            if spec.launch_id in self._begun or offload(run.claimed):
                return
            job = offload(run.job)
        except (OSError, ValueError) as error:
            why = reason_of(error, run.path) if isinstance(error, OSError) else str(error)
            raise LaunchFailed(why) from error
        if job is None:
            raise LaunchFailed(f"{run.path}/job cannot be read")
        self._begun.add(spec.launch_id)
        try:
            self._jobs.submit(job)
        except LaunchFailed as error:
            # What the engine refused can never claim it, whoever else may have submitted it.
            if offload(run.call_off, error.message):
                raise

    def _write(self, run: FarRun, spec: LaunchSpec) -> None:
        place = self._place(spec)
        with self._lock:
            tls = offload(self._authority.issue, spec.launch_id)
        uid, plan = offload(self._begin.prepare, spec)
        job = self._begin.job(spec, place, run.path.resolve())
        offload(run.fill, meta_of(spec, place, uid), spec.secret, plan, tls, job)

    def poll(self, launch_id: str) -> ProcessReport:
        """Say how a launch is, from files and from what the engine said last."""
        run = self._run(launch_id)
        self._jobs.turn()
        try:
            return self._states.look(run, begun=launch_id in self._begun)
        except OSError:
            return _UNKNOWN

    def address(self, launch_id: str) -> Address | None:
        """Say where a launch listens and by which name it is known; None before it has said so."""
        return offload(self._run(launch_id).address)

    def answers_itself(self, launch_id: str) -> bool | None:
        """Tell whether whoever listens at a launch's address belongs to it, as its node sees it.

        That node is believed while its beat goes on; who asks makes sure by the certificate.

        Returns:
            None when nobody listens, or nobody can tell.
        """
        if self.poll(launch_id).liveness is not Liveness.ALIVE:
            return None
        if not self._states.beats.fresh(launch_id):
            return None
        listens = offload(self._run(launch_id).beat).get("listens")
        return listens if isinstance(listens, bool) else None

    def stop(self, launch_id: str, *, force: bool) -> None:
        """Ask the tree to end (``force`` false) or kill all of it; only ``poll`` says gone.

        What has not begun never will. A tree is ended by its own programs on the node: an engine's
        kill misses whoever has detached himself, so it comes last.
        """
        run = self._run(launch_id)
        try:
            if not offload(run.whole) or offload(run.gone):
                return
            if offload(run.call_off, "it was stopped"):
                self._jobs.cancel(launch_id, force=True)
                return
            offload(run.order, "kill" if force else "stop")
        except OSError:
            # Nobody can tell how it is now: poll says UNKNOWN, and the caller asks again.
            pass
        if force:
            now = self._monotonic()
            stuck = now - self._forced_at.setdefault(launch_id, now) >= STUCK_AFTER_S
            self._jobs.cancel(launch_id, force=stuck)

    def logs(self, launch_id: str, max_bytes: int) -> str:
        """Give the end of what the instance printed, else what the engine kept and says."""
        run = self._run(launch_id)
        text = offload(logs.tail, run.log, max_bytes)
        if text:
            return text
        why = offload(run.claim).get("why") or self._jobs.report(launch_id).why
        said = logs.plain(self._engine.logs(launch_id, max_bytes))
        return f"{said}[engine] {logs.plain(str(why))}\n" if why else said

    def describe(self, launch_id: str) -> LaunchFacts:
        """Say what was noted of a launch before it began; it need not be this manager's."""
        meta = offload(self._run(launch_id).meta)
        labels, since = meta.get("labels"), meta.get("at")
        return LaunchFacts(
            {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
            float(since) if isinstance(since, int | float) else None,
        )

    def activity(self, launch_id: str) -> Activity | None:
        """Say what a launch's processes have done so far; None where nobody can tell anew."""
        run = self._run(launch_id)
        beat = offload(run.beat)
        self._states.beats.note(launch_id, beat)
        seen = activity_of(beat)
        if seen is None or self._states.beats.age(launch_id) > CURRENT_S:
            return None
        count, done = seen
        if self._counts.get(launch_id) == count:
            # The same look a second time would seem like a tree that does nothing.
            return None
        self._counts[launch_id] = count
        return done

    def taken(self, address: Address) -> bool | None:
        """Tell whether anybody listens there; None where its machine does not say."""
        try:
            with socket.create_connection((address.host, address.port), KNOCK_S):
                return True
        except ConnectionRefusedError:
            return False
        except OSError:
            return None

    def holders(self, launch_id: str, device: Path) -> builtins.list[int] | None:
        """List who had a launch's cards open on its node when it ended, by that node's numbers.

        ``device`` is not looked at: which card it was, the engine chose.
        """
        run = self._run(launch_id)
        try:
            if not offload(run.claimed) or offload(run.called_off):
                return []
        except OSError:
            return None
        holders = offload(run.ended).get("holders")
        if not isinstance(holders, dict):
            # Its program was killed before it could say so: another one on that node can.
            self._states.settle(run)
            return None
        return sorted({int(pid) for pids in holders.values() for pid in pids})

    def list(self) -> builtins.list[str] | None:
        """List launch ids whose tree is not known to be gone; None where nobody can tell."""
        try:
            found = offload(self._known.all)
        except OSError:
            return None
        names = [run.path.name for run in found]
        return sorted(one for one in names if self.poll(one).liveness is not Liveness.GONE)

    def prune(self, keep: int) -> int:
        """Remove the directories of launches that are gone, all but the newest ``keep``.

        Returns:
            How many were removed.
        """
        try:
            removed = offload(pruned, self._known, keep)
        except OSError:
            return 0
        for name in removed:
            self._jobs.forget(name)
            self._states.forget(name)
            self._begun.discard(name)
            self._forced_at.pop(name, None)
            self._counts.pop(name, None)
        return len(removed)

    def facts(self) -> EngineFacts | None:
        """Say what the engine and its nodes are, as heard last; None: it does not answer."""
        return self._jobs.facts()

    def probe(self) -> tuple[Node, ...]:
        """Say which nodes the engine has; how instances are confined is the same on each."""
        facts = self.facts()
        own = self._begin.isolation
        base = own.node() if own else Node("", DIRECTORIES, 0, (), {}, root=False)
        layers = ("supervisor", *(["account"] if own and own.own_accounts else []), "marker")
        named = facts.nodes if facts else ()
        return tuple(replace(base, name=node.name, layers=layers) for node in named)

    def _run(self, launch_id: str) -> FarRun:
        if not runs.LAUNCH_ID.match(launch_id):
            raise ValueError(f"not a launch id: {launch_id!r}")
        return FarRun(self._runs_dir / launch_id)
