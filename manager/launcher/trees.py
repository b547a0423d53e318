"""What can be said of and done to one launch's processes from outside its supervisor.

Everything here walks /proc: call through ``runtime.offload``. Nothing sleeps, logs or locks.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

from manager.identity import Identity, alive, send
from manager.launcher.listeners import held_inodes, listening_inodes
from manager.launcher.processes import PROC, all_stats, descendants, read_stat, survivors
from manager.launcher.run_dir import RunDir

QUIET_ROUNDS = 3
MOST_ROUNDS = 100


def end_survivors(launch_id: str, main: Identity | None, force: bool) -> None:
    """Signal what a killed supervisor left: once politely, or until three scans find nobody.

    No pause between the scans: each takes milliseconds, and nothing here may sleep.
    """
    if not force:
        for one in survivors(launch_id, main)[:1]:
            send(one, signal.SIGTERM)
        return
    quiet = 0
    for _ in range(MOST_ROUNDS):
        left = survivors(launch_id, main)
        quiet = 0 if left else quiet + 1
        if quiet == QUIET_ROUNDS:
            return
        _kill(left)


def end_whole_tree(launch_id: str, chief: Identity, main: Identity | None) -> None:
    """Kill a launch whose supervisor lives but does nothing, the supervisor last.

    Stopped or stuck, it is still the one to whom orphans are handed, so they stay below it and
    are met in the next scan; once it is gone they could hide. Nor does it collect its dead: as
    long as new dead appear below it, somebody is at work there whom no scan has met alive.
    """
    quiet, dead_before = 0, frozenset[int]()
    for _ in range(MOST_ROUNDS):
        for pid in _children(chief.pid):
            _kill_child(pid, chief.pid)
        found = {one.pid: one for one in survivors(launch_id, main)}
        found |= {one.pid: one for one in descendants(all_stats(), [chief.pid])}
        # Its environment carries the launch's marker too.
        found.pop(chief.pid, None)
        _kill(found.values())
        dead = frozenset(_children(chief.pid))
        quiet = quiet + 1 if not found and dead == dead_before else 0
        dead_before = dead
        if quiet == QUIET_ROUNDS:
            break
    send(chief, signal.SIGKILL)
    end_survivors(launch_id, main, force=True)


def _kill(found: Iterable[Identity]) -> None:
    for one in found:
        # Another account's, by sudo: not ours to end, and poll keeps saying that it lives.
        with contextlib.suppress(PermissionError):
            send(one, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    """List a process's direct children, living or dead, without walking the whole of /proc.

    Empty on kernels without CONFIG_PROC_CHILDREN.
    """
    try:
        return [int(word) for word in (PROC / f"{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _kill_child(pid: int, parent: int) -> None:
    """Kill a child at once: one that lives for microseconds is gone after a second question."""
    stat = read_stat(parent)
    # While its parent is stopped nobody collects a dead child, so its number stays its own.
    if stat is not None and stat.state in "Tt":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def owns(run: RunDir, launch_id: str, port: int) -> bool | None:
    """Tell whether whoever listens on a port belongs to this launch; None when nobody listens."""
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
