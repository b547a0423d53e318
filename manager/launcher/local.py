"""Process trees on this machine, each below a supervisor of its own.

Owns ``data/runs``. The truth about a launch is on the disk and in the kernel, not in this object:
a supervisor holds its launch's lock while anything of it lives, so a manager that was killed and
started again finds, looks at and ends the same launches. Called by ``lifecycle`` and ``watch``.
"""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from manager.errors import LaunchFailed
from manager.identity import send
from manager.launcher import account, activity, cgroups, devices, logs, runs, supervisor, trees
from manager.launcher.activity import Activity
from manager.launcher.confine import SECRET_FILE
from manager.launcher.isolation import DIRECTORIES, OPEN, Isolation, Prepared
from manager.launcher.listeners import listening_inodes
from manager.launcher.processes import MARKER, survivors
from manager.launcher.protocol import LaunchFacts, LaunchSpec, Liveness, ProcessReport
from manager.launcher.refusals import check, reason_of
from manager.launcher.run_dir import RunDir
from manager.launcher.trees import owns
from manager.records import Address, Node
from manager.runtime import offload

STUCK_AFTER_S = 3.0
"""Time a supervisor has for a kill, before its tree is killed without it."""

_SUPERVISOR = str(Path(supervisor.__file__).resolve())

LOOPBACK = "127.0.0.1"
"""The only host on which instances of this machine listen."""

_NOTES = {
    supervisor.NO_RECORD: "nothing was started: the launch's record could not be written. "
    "Free some space on the disk with DATA_DIR, then start again.",
    supervisor.NO_SUBREAPER: "nothing was started: this kernel refuses PR_SET_CHILD_SUBREAPER "
    "(Linux 3.4 or newer is needed).",
}


def _meta(spec: LaunchSpec, prepared: Prepared) -> dict[str, object]:
    """Give what is noted of a launch before it begins: how to find and end it, and whose it is."""
    return {
        "launch_id": spec.launch_id,
        "argv": list(spec.argv),
        "cwd": str(spec.cwd),
        "at": time.time(),
        "labels": dict(spec.labels),
        "port": spec.port,
        "uid": prepared.uid,
        "groups": [str(path) for path in prepared.groups],
    }


class LocalLauncher:
    """Implements ``protocol.Launcher`` for this machine."""

    def __init__(self, runs_dir: Path, isolation: Isolation | None = None) -> None:
        """Name the directory that holds one directory a launch; made when first needed.

        Without an ``isolation`` launches run as the manager does, with all that it may do.
        """
        self._runs_dir = runs_dir
        self._isolation = isolation
        # Only the supervisors this manager started: they are its children, and it must reap them.
        self._supervisors: dict[str, subprocess.Popen[bytes]] = {}
        self._notes: dict[str, str] = {}
        self._forced_at: dict[str, float] = {}
        # Launches that are gone by more than a supervisor's word.
        self._proven: set[str] = set()
        self._accounts = isolation.accounts if isolation else account.accounts(account.BASE)

    def start(self, spec: LaunchSpec) -> None:
        """Begin a launch; the same id a second time starts nothing.

        Raises:
            LaunchFailed: the process could not be started; the message says why and what to do.
        """
        run = self._run(spec.launch_id)
        check(spec)
        prepared = OPEN
        try:
            claimed = run.path.exists()
            if claimed and not self._never_begun(run, spec.launch_id):
                return
            self._check_port(spec)
            prepared = offload(self._isolation.prepare, spec) if self._isolation else prepared
            content = (_meta(spec, prepared), spec.secret, prepared.plan)
            if claimed:
                offload(run.renew, *content)
            elif not offload(run.create, *content):
                # Somebody else made the claim meanwhile, and begins it.
                return
        except OSError as error:
            offload(cgroups.remove, prepared.groups)
            raise LaunchFailed(reason_of(error, run.path)) from error
        secret_file = Path(SECRET_FILE) if prepared.plan else run.secret
        self._spawn(run, spec, spec.words(secret_file))

    def poll(self, launch_id: str) -> ProcessReport:
        """Say how a launch is. A scan of /proc is needed only where a supervisor was killed."""
        run = self._run(launch_id)
        try:
            return self._look(run, launch_id)
        except OSError:
            return ProcessReport(Liveness.UNKNOWN)

    def address(self, launch_id: str) -> Address | None:
        """Say where a launch was told to listen; None for one of which that was not noted."""
        meta = offload(self._run(launch_id).meta)
        port = meta.get("port")
        if "port" not in meta and isinstance(meta.get("labels"), dict):
            # An earlier version noted it for people only.
            label = str(meta["labels"].get("port"))
            port = int(label) if label.isdecimal() else None
        return Address(LOOPBACK, port) if isinstance(port, int) and port > 0 else None

    def probe(self) -> tuple[Node, ...]:
        """Say what this machine offers."""
        if self._isolation is not None:
            return (self._isolation.node(),)
        layers = ("supervisor", "marker")
        return (Node("local", DIRECTORIES, 0, layers, {}, root=os.geteuid() == 0),)

    def stop(self, launch_id: str, *, force: bool) -> None:
        """Ask the tree to end (``force`` false) or kill all of it; only ``poll`` says gone.

        May be called again and again; a launch that is gone or never was is left alone.
        """
        run = self._run(launch_id)
        own = self._supervisors.get(launch_id)
        supervised = own is not None and own.poll() is None
        try:
            chief, _ = run.identities()
            if supervised or run.locked():
                if force and self._stuck(launch_id) and chief is not None:
                    offload(trees.end_stuck, run, launch_id, self._accounts, chief)
                    return
                # A supervisor that was stopped (SIGSTOP) does its work once it is continued.
                for number in (signal.SIGUSR1, signal.SIGCONT) if force else (signal.SIGTERM,):
                    if own is not None and supervised:
                        own.send_signal(number)
                    elif chief is not None:
                        send(chief, number)
            else:
                offload(trees.end_left_over, run, launch_id, self._accounts, force)
        except OSError:
            # Nobody can tell how it is now: poll says UNKNOWN, and the caller asks again.
            return

    def _stuck(self, launch_id: str) -> bool:
        """Tell whether a supervisor was told long ago to kill all, and still is there."""
        now = time.monotonic()
        return now - self._forced_at.setdefault(launch_id, now) >= STUCK_AFTER_S

    def logs(self, launch_id: str, max_bytes: int) -> str:
        """Give the end of what the instance printed, without colours; empty when nothing."""
        text = offload(logs.tail, self._run(launch_id).log, max_bytes)
        note = self._notes.get(launch_id)
        return f"{text}[manager] {note}\n" if note else text

    def describe(self, launch_id: str) -> LaunchFacts:
        """Say what was noted of a launch before it began; it need not be this manager's."""
        meta = offload(self._run(launch_id).meta)
        labels, since = meta.get("labels"), meta.get("at")
        return LaunchFacts(
            {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {},
            float(since) if isinstance(since, int | float) else None,
        )

    def list(self) -> list[str]:
        """List launch ids whose tree is not known to be gone, by one scan of /proc."""
        # A copy: another thread may start something meanwhile.
        own = [name for name, child in dict(self._supervisors).items() if child.poll() is None]
        return sorted({*own, *offload(runs.found, self._runs_dir, self._accounts)})

    def answers_itself(self, launch_id: str) -> bool | None:
        """Tell whether whoever listens at a launch's address belongs to it.

        Returns:
            None when nobody listens, or nobody can tell.
        """
        address = self.address(launch_id)
        if address is None:
            return None
        try:
            return offload(owns, self._run(launch_id), launch_id, address.port)
        except OSError:
            return None

    def holders(self, launch_id: str, device: Path) -> builtins.list[int] | None:
        """List who has a device open and may have come from a launch whose tree is gone."""
        try:
            found = offload(devices.openers, device)
            return offload(trees.suspects, self._run(launch_id), launch_id, found)
        except OSError:
            return None

    def activity(self, launch_id: str) -> Activity | None:
        """Say what a launch's processes have done so far; None where nobody can tell."""
        try:
            return offload(activity.of_launch, self._run(launch_id), launch_id)
        except OSError:
            return None

    def taken(self, address: Address) -> bool | None:
        """Tell whether anybody listens there; None where it is not this machine's to say."""
        if address.host != LOOPBACK:
            return None
        try:
            return bool(offload(listening_inodes, address.port))
        except OSError:
            return None

    def prune(self, keep: int) -> int:
        """Remove the directories of launches that are gone, all but the newest ``keep``.

        Returns:
            How many were removed.
        """
        removed = offload(runs.prune, self._runs_dir, keep)
        for launch_id in removed:
            self._notes.pop(launch_id, None)
            self._proven.discard(launch_id)
        return len(removed)

    def _run(self, launch_id: str) -> RunDir:
        if not runs.LAUNCH_ID.match(launch_id):
            raise ValueError(f"not a launch id: {launch_id!r}")
        return RunDir(self._runs_dir / launch_id)

    def _never_begun(self, run: RunDir, launch_id: str) -> bool:
        """Tell whether a manager died between the claim of a launch and its supervisor's start.

        A supervisor writes its record under the lock and before anything else runs; should one be
        on its way all the same, the lock lets only one of the two go on.
        """
        if launch_id in self._supervisors:
            return False
        begun = run.locked() or any(run.identities())
        return not begun and not offload(survivors, launch_id, None)

    def _check_port(self, spec: LaunchSpec) -> None:
        if spec.port and self.taken(Address(LOOPBACK, spec.port)):
            raise LaunchFailed(
                f"port {spec.port} is taken by another program; end that program or change PORTS",
                reason="port_taken",
            )

    def _spawn(self, run: RunDir, spec: LaunchSpec, words: tuple[str, ...]) -> None:
        # -I -S: no user settings, no site-packages, so it starts in 10 ms and stays small.
        command = [sys.executable, "-I", "-S", _SUPERVISOR, str(run.path.resolve())]
        try:
            with open(run.open_log(), "ab", buffering=0) as log:  # noqa: PTH123 - a descriptor
                self._supervisors[spec.launch_id] = subprocess.Popen(
                    [*command, str(spec.log_max_bytes), *words],
                    env={**spec.env, MARKER: spec.launch_id},
                    cwd=spec.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            offload(runs.remove, run)
            why = reason_of(error, run.path) if isinstance(error, OSError) else str(error)
            raise LaunchFailed(why) from error

    def _look(self, run: RunDir, launch_id: str) -> ProcessReport:
        own = self._supervisors.get(launch_id)
        running = own is not None and own.poll() is None
        # The lock before the record of the end: a supervisor writes that and then lets go.
        if run.locked() or running:
            # Held, or ours and on the way to taking it or to its own exit.
            self._proven.discard(launch_id)
            _, main = run.identities()
            return ProcessReport(Liveness.ALIVE, pid=main.pid if main else None)
        if not (run.gone() and launch_id in self._proven):
            left = offload(trees.left_over, run, launch_id, self._accounts)
            if left:
                return ProcessReport(Liveness.ALIVE, pid=left[0].pid, supervised=False)
            # A killed manager's claim may have a supervisor on its way, who must find his groups.
            if run.path.exists() and (own is not None or any(run.identities())):
                offload(cgroups.remove, run.groups())
                run.mark_gone()
                self._proven.add(launch_id)
        self._forced_at.pop(launch_id, None)
        if own is not None:
            self._supervisors.pop(launch_id, None)
            if own.returncode in _NOTES:
                self._notes[launch_id] = _NOTES[own.returncode]
        return ProcessReport(Liveness.GONE, exit_code=run.exit_code())
