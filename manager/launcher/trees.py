"""What can be said of and done to one launch's processes from outside its supervisor.

Everything here walks /proc: call through ``runtime.offload``. Nothing sleeps, logs or locks.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable

from manager.identity import Identity, alive, send
from manager.launcher import account
from manager.launcher.layers import NONE, Layers, layers_of
from manager.launcher.listeners import LOOPBACK, held_inodes, listening_inodes
from manager.launcher.processes import (
    PROC,
    all_stats,
    descendants,
    held,
    launch_of,
    read_stat,
    survivors,
)
from manager.launcher.run_dir import RunDir

QUIET_ROUNDS = 3
SAME_ROUNDS = 10
MOST_ROUNDS = 100


def left_over(run: RunDir, launch_id: str, ours: range) -> list[Identity]:
    """Find what is left of a launch that has no supervisor any more, the main process first.

    Where a supervisor saw the end, its word is checked by the layers, which do not need it.

    Args:
        run: the launch's directory.
        launch_id: its id.
        ours: the accounts that are the manager's to hand out.

    Raises:
        OSError: /proc cannot be listed.
    """
    layers = layers_of(run, ours)
    if run.gone():
        return held(all_stats(), layers) if layers.members() else []
    return survivors(launch_id, run.identities()[1], layers)


def end_left_over(run: RunDir, launch_id: str, ours: range, force: bool) -> None:
    """End what ``left_over`` finds: ask it to, or by force.

    Raises:
        OSError: /proc cannot be listed.
    """
    layers = layers_of(run, ours)
    if not run.gone() or layers.members():
        end_survivors(launch_id, run.identities()[1], force, layers)


def end_stuck(run: RunDir, launch_id: str, ours: range, chief: Identity) -> None:
    """Kill a launch whose supervisor lives but does nothing.

    Raises:
        OSError: /proc cannot be listed.
    """
    layers, main = layers_of(run, ours), run.identities()[1]
    if alive(chief):
        end_whole_tree(launch_id, chief, main, layers)
    else:
        # Its number may be somebody else's by now, who has children too.
        end_survivors(launch_id, main, True, layers)


def end_survivors(
    launch_id: str, main: Identity | None, force: bool, layers: Layers = NONE
) -> None:
    """Signal what a killed supervisor left: once politely, or until three scans find nobody.

    By force, the layers that miss nobody come first, and the marks last. No pause between the
    scans: each takes milliseconds, and nothing here may sleep.

    Raises:
        OSError: /proc cannot be listed.
    """
    if not force:
        for one in survivors(launch_id, main, layers)[:1]:
            send(one, signal.SIGTERM)
        return
    layers.end()
    quiet, same, before = 0, 0, list[Identity]()
    for _ in range(MOST_ROUNDS):
        left = survivors(launch_id, main, layers)
        quiet = 0 if left else quiet + 1
        same = same + 1 if left == before else 0
        # Who was killed and stays waits for a device: poll tells that it lives.
        if quiet == QUIET_ROUNDS or (left and same == SAME_ROUNDS):
            return
        _kill(left)
        before = left


def end_whole_tree(
    launch_id: str, chief: Identity, main: Identity | None, layers: Layers = NONE
) -> None:
    """Kill a launch whose supervisor lives but does nothing, the supervisor last.

    Stopped or stuck, it is still the one to whom orphans are handed, so they stay below it and
    are met in the next scan; once it is gone they could hide. Nor does it collect its dead: as
    long as new dead appear below it, somebody is at work there whom no scan has met alive.
    """
    layers.end()
    quiet, dead_before = 0, frozenset[int]()
    for _ in range(MOST_ROUNDS):
        for pid in _children(chief.pid):
            _kill_child(pid, chief.pid)
        found = {one.pid: one for one in survivors(launch_id, main, layers)}
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
    end_survivors(launch_id, main, True, layers)


def suspects(run: RunDir, launch_id: str, pids: Iterable[int]) -> list[int]:
    """Say which of these processes may have come from a launch that is gone.

    A process that dropped every mark cannot be told for certain. It is suspect when it runs under
    the launch's own account, its files' or the manager's, began after the launch did, and neither
    it nor any of its ancestors belongs to another launch. Where nothing was recorded nobody is.
    """
    chief, _ = run.identities()
    if chief is None:
        return []
    accounts = {os.geteuid(), run.owner(), run.account()}
    found = []
    for pid in pids:
        stat = read_stat(pid)
        if stat is None or pid == os.getpid() or stat.start_ticks < chief.start_ticks:
            continue
        if account.uids_of(pid) & accounts and _launch_above(pid) in ("", launch_id):
            found.append(pid)
    return sorted(found)


def _launch_above(pid: int) -> str:
    """Give the launch that a process or the nearest of its ancestors is marked with."""
    while pid > 1:
        launch_id = launch_of(pid)
        if launch_id:
            return launch_id
        stat = read_stat(pid)
        pid = stat.parent if stat else 0
    return ""


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


def owns(run: RunDir, launch_id: str, port: int, host: str = LOOPBACK) -> bool | None:
    """Tell whether whoever listens on a port belongs to this launch; None when nobody listens."""
    inodes = listening_inodes(port, host)
    if not inodes:
        return None
    chief, main = run.identities()
    # ComfyUI itself nearly always: two files read instead of all of /proc.
    if main is not None and alive(main) and held_inodes([main.pid], inodes) == inodes:
        return True
    if chief is not None and alive(chief):
        tree = descendants(all_stats(), [chief.pid])
    else:
        tree = survivors(launch_id, main, Layers(run.groups()))
    # With SO_REUSEPORT two may listen side by side: all of them must be ours.
    return held_inodes((one.pid for one in tree), inodes) == inodes
