"""The directory with one directory a launch: which of them are not known to be gone, which may go.

Walks /proc and the disk: call through ``runtime.offload``.
"""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from manager.identity import Identity, alive
from manager.launcher import cgroups
from manager.launcher.layers import layers_of
from manager.launcher.processes import all_stats, marked
from manager.launcher.run_dir import RunDir

CLAIM_S = 600.0
"""A claim without a supervisor that is older was given up; a supervisor begins within seconds."""

LAUNCH_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def found(runs_dir: Path, ours: range) -> list[str]:
    """List the launches whose tree is not known to be gone.

    Args:
        runs_dir: the directory.
        ours: the accounts that are the manager's to hand out.

    Raises:
        OSError: the directory or /proc cannot be listed.
    """
    unclear = [run for run in _all(runs_dir) if _locked(run) or not run.gone()]
    if all(_locked(run) for run in unclear):
        return [run.path.name for run in unclear]
    with_marker = marked(all_stats())
    return [run.path.name for run in unclear if _locked(run) or _left(run, with_marker, ours)]


def prune(runs_dir: Path, keep: int) -> list[str]:
    """Remove the launches that are gone, all but the newest ``keep``, and their control groups.

    Raises:
        OSError: the directory cannot be listed.
    """
    now = time.time()
    runs = [run for run in _all(runs_dir) if not _locked(run)]
    ended = [run for run in runs if run.gone()]
    for run in runs:
        if not run.gone() and _never_begun(run, now) and not cgroups.members(run.groups()):
            remove(run)
    ended.sort(key=lambda run: _ended_at(run, now), reverse=True)
    for run in ended[:keep]:
        # Of one that ended by itself while there was no manager to ask about it.
        cgroups.remove(run.groups())
    # Who is in a group still is known by this directory alone.
    removed = [run for run in ended[keep:] if not cgroups.members(run.groups())]
    for run in removed:
        remove(run)
    return [run.path.name for run in removed]


def remove(run: RunDir) -> None:
    """Remove one launch's directory and control groups; what cannot go stays."""
    cgroups.remove(run.groups())
    shutil.rmtree(run.path, ignore_errors=True)


def _never_begun(run: RunDir, now: float) -> bool:
    """Tell of a claim that its supervisor would have taken long ago."""
    claimed_at = (run.path / "meta").stat().st_mtime if (run.path / "meta").exists() else now
    return not any(run.identities()) and abs(now - claimed_at) > CLAIM_S


def _ended_at(run: RunDir, now: float) -> float:
    """Say when a launch ended, in epoch seconds.

    What lies ahead is from before the clock was set back: older than all else.
    """
    at = (run.path / "gone").stat().st_mtime
    return at if at <= now else 0.0


def _all(runs_dir: Path) -> list[RunDir]:
    try:
        return [RunDir(path) for path in runs_dir.iterdir() if LAUNCH_ID.match(path.name)]
    except FileNotFoundError:
        return []


def _locked(run: RunDir) -> bool:
    """Tell whether a supervisor lives; yes on doubt, for what is only listed or spared."""
    try:
        return run.locked()
    except OSError:
        return True


def _left(run: RunDir, with_marker: dict[str, list[Identity]], ours: range) -> bool:
    _, main = run.identities()
    if run.path.name in with_marker or (main is not None and alive(main)):
        return True
    return bool(layers_of(run, ours).members())
