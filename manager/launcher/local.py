"""Process trees on this machine, each below a supervisor of its own.

Owns ``data/runs``. The truth about a launch is on the disk and in the kernel, not in this object:
a supervisor holds its launch's lock while anything of it lives, so a manager that was killed and
started again finds, looks at and ends the same launches. Called by ``lifecycle`` and ``watch``.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from manager.errors import LaunchFailed
from manager.identity import Identity, alive, send
from manager.launcher import logs, supervisor
from manager.launcher.listeners import held_inodes, listening_inodes
from manager.launcher.processes import MARKER, all_stats, descendants, marked, survivors
from manager.launcher.protocol import LaunchSpec, Liveness, ProcessReport
from manager.launcher.run_dir import RunDir
from manager.runtime import offload

_LAUNCH_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_SUPERVISOR = str(Path(supervisor.__file__).resolve())
_QUIET_ROUNDS = 3
_MOST_ROUNDS = 100

_NOTES = {
    supervisor.NO_RECORD: "nothing was started: the launch's record could not be written. "
    "Free some space on the disk with DATA_DIR, then start again.",
    supervisor.NO_SUBREAPER: "nothing was started: this kernel refuses PR_SET_CHILD_SUBREAPER "
    "(Linux 3.4 or newer is needed).",
}


class LocalLauncher:
    """Implements ``protocol.Launcher`` for this machine."""

    def __init__(self, runs_dir: Path) -> None:
        """Name the directory that holds one directory a launch; made when first needed."""
        self._runs_dir = runs_dir
        # Only the supervisors this manager started: they are its children, and it must reap them.
        self._supervisors: dict[str, subprocess.Popen[bytes]] = {}
        self._notes: dict[str, str] = {}

    def start(self, spec: LaunchSpec) -> None:
        """Begin a launch; the same id a second time starts nothing.

        Raises:
            LaunchFailed: the process could not be started; the message says why and what to do.
        """
        run = self._run(spec.launch_id)
        _check(spec)
        meta = {
            "launch_id": spec.launch_id,
            "argv": list(spec.argv),
            "cwd": str(spec.cwd),
            "at": time.time(),
        }
        try:
            created = offload(run.create, meta)
        except OSError as error:
            raise LaunchFailed(_why(error, run.path)) from error
        if created:
            self._spawn(run, spec)

    def poll(self, launch_id: str) -> ProcessReport:
        """Say how a launch is. A scan of /proc is needed only where a supervisor was killed."""
        run = self._run(launch_id)
        try:
            return self._look(run, launch_id)
        except OSError:
            return ProcessReport(Liveness.UNKNOWN)

    def stop(self, launch_id: str, *, force: bool) -> None:
        """Ask the tree to end (``force`` false) or kill all of it; only ``poll`` says gone.

        May be called again and again; a launch that is gone or never was is left alone.
        """
        run = self._run(launch_id)
        number = signal.SIGUSR1 if force else signal.SIGTERM
        own = self._supervisors.get(launch_id)
        if own is not None and own.poll() is None:
            own.send_signal(number)
            return
        try:
            if run.locked():
                chief, _ = run.identities()
                if chief is not None:
                    send(chief, number)
            elif not run.gone():
                _, main = run.identities()
                offload(_end_survivors, launch_id, main, force)
        except OSError:
            # Nobody can tell how it is now: poll says UNKNOWN, and the caller asks again.
            return

    def logs(self, launch_id: str, max_bytes: int) -> str:
        """Give the end of what the instance printed, without colours; empty when nothing."""
        text = offload(logs.tail, self._run(launch_id).log, max_bytes)
        note = self._notes.get(launch_id)
        return f"{text}[manager] {note}\n" if note else text

    def list(self) -> list[str]:
        """List launch ids whose tree is not known to be gone, by one scan of /proc."""
        # A copy: another thread may start something meanwhile.
        own = [name for name, child in dict(self._supervisors).items() if child.poll() is None]
        return sorted({*own, *offload(self._found)})

    def owns_port(self, launch_id: str, port: int) -> bool | None:
        """Tell whether whoever listens on 127.0.0.1:``port`` belongs to this launch.

        Returns:
            None when nobody listens, or nobody can tell.
        """
        try:
            return offload(_owns, self._run(launch_id), launch_id, port)
        except OSError:
            return None

    def port_taken(self, port: int) -> bool:
        """Tell whether anybody listens on 127.0.0.1:``port``; false where the kernel won't say."""
        try:
            return bool(offload(listening_inodes, port))
        except OSError:
            return False

    def prune(self, keep: int) -> int:
        """Remove the directories of launches that are gone, all but the newest ``keep``.

        Returns:
            How many were removed.
        """
        removed = offload(self._prune, keep)
        for launch_id in removed:
            self._notes.pop(launch_id, None)
        return len(removed)

    def _run(self, launch_id: str) -> RunDir:
        if not _LAUNCH_ID.match(launch_id):
            raise ValueError(f"not a launch id: {launch_id!r}")
        return RunDir(self._runs_dir / launch_id)

    def _spawn(self, run: RunDir, spec: LaunchSpec) -> None:
        # -I -S: no user settings, no site-packages, so it starts in 10 ms and stays small.
        command = [sys.executable, "-I", "-S", _SUPERVISOR, str(run.path.resolve())]
        try:
            with open(run.open_log(), "ab", buffering=0) as log:  # noqa: PTH123 - a descriptor
                self._supervisors[spec.launch_id] = subprocess.Popen(
                    [*command, str(spec.log_max_bytes), *spec.argv],
                    env={**spec.env, MARKER: spec.launch_id},
                    cwd=spec.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            offload(_remove, run.path)
            why = _why(error, run.path) if isinstance(error, OSError) else str(error)
            raise LaunchFailed(why) from error

    def _look(self, run: RunDir, launch_id: str) -> ProcessReport:
        own = self._supervisors.get(launch_id)
        running = own is not None and own.poll() is None
        # The lock before the record of the end: a supervisor writes that and then lets go.
        if run.locked() or running:
            # Held, or ours and on the way to taking it or to its own exit.
            _, main = run.identities()
            return ProcessReport(Liveness.ALIVE, pid=main.pid if main else None)
        if not run.gone():
            _, main = run.identities()
            left = offload(survivors, launch_id, main)
            if left:
                return ProcessReport(Liveness.ALIVE, pid=left[0].pid)
            if run.path.exists():
                run.mark_gone()
        if own is not None:
            self._supervisors.pop(launch_id, None)
            if own.returncode in _NOTES:
                self._notes[launch_id] = _NOTES[own.returncode]
        return ProcessReport(Liveness.GONE, exit_code=run.exit_code())

    def _found(self) -> builtins.list[str]:
        try:
            runs = [RunDir(path) for path in self._runs_dir.iterdir()]
        except FileNotFoundError:
            return []
        runs = [run for run in runs if _LAUNCH_ID.match(run.path.name)]
        unclear = [run for run in runs if _locked(run) or not run.gone()]
        if all(_locked(run) for run in unclear):
            return [run.path.name for run in unclear]
        with_marker = marked(all_stats())
        return [run.path.name for run in unclear if _locked(run) or _left(run, with_marker)]

    def _prune(self, keep: int) -> builtins.list[str]:
        try:
            runs = [RunDir(path) for path in self._runs_dir.iterdir()]
        except FileNotFoundError:
            return []
        ended = [run for run in runs if run.gone() and not _locked(run)]
        ended.sort(key=lambda run: (run.path / "gone").stat().st_mtime_ns, reverse=True)
        for run in ended[keep:]:
            _remove(run.path)
        return [run.path.name for run in ended[keep:]]


def _locked(run: RunDir) -> bool:
    """Tell whether a supervisor lives; yes on doubt, for what is only listed or spared."""
    try:
        return run.locked()
    except OSError:
        return True


def _left(run: RunDir, with_marker: dict[str, list[Identity]]) -> bool:
    _, main = run.identities()
    return run.path.name in with_marker or (main is not None and alive(main))


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def _check(spec: LaunchSpec) -> None:
    """Refuse what cannot run, in words that name the cause.

    Raises:
        LaunchFailed: there is no such program or folder.
    """
    program = spec.argv[0]
    if shutil.which(program, path=spec.env.get("PATH", "")) is None:
        raise LaunchFailed(
            f"there is no program {program} that may be run: check COMFYUI_PYTHON and COMFYUI_PATH"
        )
    # Unlike Path.is_dir, this does not raise where the folder above may not be entered.
    if not os.path.isdir(spec.cwd):  # noqa: PTH112
        raise LaunchFailed(
            f"there is no folder {spec.cwd} that may be entered: check COMFYUI_PATH and its rights"
        )


def _why(error: OSError, path: Path) -> str:
    """Say what stood in the way of a start, and what to do."""
    what = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"{what}: nothing can be written below {path.parent}; free some space there"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        named = error.filename or path
        return f"{what}: {named}; the manager's account must be able to write and enter it"
    if error.errno in {errno.EAGAIN, errno.ENOMEM}:
        return f"{what}: no new process; raise the limit of processes (ulimit -u) or free memory"
    if error.errno in {errno.EMFILE, errno.ENFILE}:
        return f"{what}: raise the limit of open files (ulimit -n) and restart the manager"
    return f"{what}: {error.filename or path}"


def _end_survivors(launch_id: str, main: Identity | None, force: bool) -> None:
    """Signal what a killed supervisor left: once politely, or until three scans find nobody.

    No pause between the scans: each takes milliseconds, and nothing here may sleep.
    """
    if not force:
        for one in survivors(launch_id, main)[:1]:
            send(one, signal.SIGTERM)
        return
    quiet = 0
    for _ in range(_MOST_ROUNDS):
        left = survivors(launch_id, main)
        quiet = 0 if left else quiet + 1
        if quiet == _QUIET_ROUNDS:
            return
        for one in left:
            # Another account's, by sudo: not ours to end, and poll keeps saying that it lives.
            with contextlib.suppress(PermissionError):
                send(one, signal.SIGKILL)


def _owns(run: RunDir, launch_id: str, port: int) -> bool | None:
    inodes = listening_inodes(port)
    if not inodes:
        return None
    chief, main = run.identities()
    # ComfyUI itself nearly always: two files read instead of all of /proc.
    if main is not None and alive(main) and held_inodes([main.pid], inodes) == inodes:
        return True
    if chief is not None and alive(chief):
        tree = descendants(all_stats(), [chief.pid])
    else:
        tree = survivors(launch_id, main)
    # With SO_REUSEPORT two may listen side by side: all of them must be ours.
    return held_inodes((one.pid for one in tree), inodes) == inodes
