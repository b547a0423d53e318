"""What holds a launch together besides its supervisor: control groups and an account of its own.

Neither depends on parents, marks or names, so both find what a killed supervisor lost. They were
noted before the launch began. Walks /proc: call through ``runtime.offload``.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from manager.launcher import account, cgroups
from manager.launcher.run_dir import RunDir


@dataclass(frozen=True)
class Layers:
    """One launch's. ``uid`` is None where the account is shared, also with a launch of today."""

    groups: tuple[Path, ...] = ()
    uid: int | None = None
    ours: range = range(0)

    def members(self) -> set[int]:
        """List who is held by any of them.

        Raises:
            OSError: /proc cannot be listed.
        """
        found = set(cgroups.members(self.groups))
        return found if self.uid is None else found | set(account.members(self.uid))

    def end(self) -> None:
        """Kill all whom they hold, the account first: that needs no list."""
        if self.uid is not None:
            # Without another process, or /proc, the groups may do it still.
            with contextlib.suppress(OSError):
                account.end(self.uid, self.ours)
        cgroups.end(self.groups)


NONE = Layers()


def layers_of(run: RunDir, ours: range) -> Layers:
    """Find out which layers can be used on a launch now.

    Args:
        run: the launch.
        ours: the accounts that are the manager's to hand out.
    """
    uid = run.account()
    if not account.is_ours(uid, ours) or any(_lives(other, uid) for other in _others(run)):
        uid = None
    return Layers(run.groups(), uid, ours)


def _others(run: RunDir) -> list[RunDir]:
    try:
        return [RunDir(path) for path in run.path.parent.iterdir() if path.name != run.path.name]
    except FileNotFoundError:
        return []


def _lives(other: RunDir, uid: int | None) -> bool:
    """Tell whether another launch may have processes under an account; yes on doubt."""
    if other.gone() and not other.locked():
        return False
    return not other.of_earlier_boot() and other.account() == uid
