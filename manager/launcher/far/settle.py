"""Ending what is left on this machine of launches whose own programs were killed over them.

Where both the program of a node and its supervisor were killed, nobody is left who could say that a
launch is gone. Whoever comes to that machine next does: what was claimed in an earlier boot of it
cannot live; what was claimed in this one, and has neither, is ended by its marks. A launch of
another machine, or of a container with process numbers of its own, is left alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manager.identity import alive, from_dict
from manager.launcher import notes, trees
from manager.launcher.far import claims, hosts
from manager.launcher.far.keeper import Keeper
from manager.launcher.run_dir import RunDir


def settle(runs_dir: Path, accounts: Sequence[int]) -> list[str]:
    """End what is left on this machine.

    Args:
        runs_dir: holds the launches.
        accounts: first and last but one of those that are the manager's to hand out.

    Returns:
        The launches that are now known to be gone.

    Raises:
        OSError: the launches cannot be listed.
    """
    found = []
    for path in sorted(runs_dir.iterdir()):
        claim = claims.read(path)
        if claim.get("by") != claims.NODE:
            continue
        run = RunDir(path)
        with contextlib.suppress(OSError):
            if not (path / "ended").exists() and _settled(run, claim, range(*accounts)):
                found.append(path.name)
    return found


def _settled(run: RunDir, claim: dict[str, Any], ours: range) -> bool:
    """End what is left, and say the last word in the place of the launch's own program."""
    if hosts.was_here_before(claim):
        notes.write_file(str(run.path / "ended"), '{"holders": {}}\n')
    elif hosts.is_here(claim) and not _somebody_cares(run, claim):
        trees.end_left_over(run, run.path.name, ours, True)
        if trees.left_over(run, run.path.name, ours):
            return False
        job = claims.read_file(run.path / "job")
        if not job:
            return False
        keeper = Keeper(run, job)
        keeper.cards = str(claims.read_file(run.path / "beat").get("cards", ""))
        keeper.end()
    else:
        return False
    notes.write_file(str(run.path / "gone"), "gone\n")
    return True


def _somebody_cares(run: RunDir, claim: dict[str, Any]) -> bool:
    """Tell whether the program or the supervisor of a launch lives: both end it themselves."""
    keeper, (chief, _) = from_dict(claim), run.identities()
    if keeper is None or alive(keeper) or run.locked():
        return True
    return chief is not None and alive(chief)


def main(runs_dir: Path) -> int:
    """Do it once, for a manager that waits for it."""
    accounts: set[tuple[int, int]] = set()
    for path in runs_dir.iterdir():
        of_job = claims.read_file(path / "job").get("accounts")
        if isinstance(of_job, list) and len(of_job) == 2:
            accounts.add((int(of_job[0]), int(of_job[1])))
    for one in accounts or {(0, 0)}:
        for name in settle(runs_dir, one):
            notes.say(f"{name} is gone")
    return 0
