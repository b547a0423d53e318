"""How instances on this machine are kept apart: what each launch's supervisor is told to do.

One ``Isolation`` is chosen by ``trial`` when the manager starts and holds for every launch after.
It makes the *plan* that ``confine`` carries out below the supervisor, and does beforehand what
only the manager can do: owners of folders, control groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manager.launcher import account
from manager.launcher.groups import Groups
from manager.launcher.nodes import for_root
from manager.launcher.ownership import hand_over, let_through
from manager.launcher.protocol import LaunchSpec
from manager.launcher.view import visible
from manager.records import Node

DIRECTORIES, USER, SANDBOX = "directories", "user", "sandbox"
LEVELS = (SANDBOX, USER, DIRECTORIES)
"""The highest first."""

MIB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one instance may take, in bytes and counts; 0 is no limit."""

    memory: int = 0
    processes: int = 0
    open_files: int = 0
    nice: int = 0
    oom_score_adj: int = 0


@dataclass(frozen=True)
class Prepared:
    """One launch's part: what is kept with it to end it for certain, and the supervisor's plan."""

    uid: int | None
    groups: tuple[Path, ...]
    plan: Mapping[str, Any] | None


OPEN = Prepared(None, (), None)
"""A launch that is not confined at all."""


@dataclass(frozen=True)
class Isolation:
    """What is in force on this machine.

    Args:
        level: one of ``LEVELS``.
        landlock: ABI of the kernel's Landlock, 0 where there is none or it is off.
        uid_base: accounts are ``uid_base`` + user id; used as root above ``directories``.
        data_dir: holds the users' folders.
        ours: files and folders no instance may see.
        shared_readable, shared_writable: what the operator shares with all.
        devices: nodes of the accelerators, for the sandbox.
        gids: groups an account needs to open them.
        taken: why these accounts may not be used, nor ended: another manager may have them.
        refused: for each higher level, and for ``landlock``, why it is not in force.
    """

    level: str
    landlock: int
    root: bool
    uid_base: int
    groups: Groups
    data_dir: Path
    ours: tuple[Path, ...]
    limits: Limits = Limits()
    shared_readable: tuple[Path, ...] = ()
    shared_writable: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    gids: tuple[int, ...] = ()
    bwrap: str = ""
    taken: str = ""
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def own_accounts(self) -> bool:
        """Tell whether each user has an account of his own."""
        return self.root and self.level != DIRECTORIES

    @property
    def accounts(self) -> range:
        """Give the accounts of which all processes may be ended."""
        return range(0) if self.taken else account.accounts(self.uid_base)

    def uid(self, user_id: int) -> int | None:
        """Give the account a user's instance runs as; None: the manager's own."""
        return self.uid_base + user_id if self.own_accounts else None

    def node(self) -> Node:
        """Describe this machine for people."""
        layers = ["supervisor", *(["account"] if self.own_accounts else [])]
        layers += [*self.groups.kinds, "marker"]
        return Node("local", self.level, self.landlock, tuple(layers), self.refused, self.root)

    def prepare(self, spec: LaunchSpec) -> Prepared:
        """Make ready what one launch needs. The same launch may be prepared twice.

        Raises:
            OSError: a folder could not be handed over, or a group not be made.
        """
        uid = self.uid(spec.user_id)
        if self.root:
            # Back to root also, where the level was higher before.
            for folder in spec.writable:
                hand_over(folder, uid or 0)
                self._open_way(folder)
        processes = self.limits.processes if self.groups.can_limit_processes else 0
        groups = self.groups.make(spec.launch_id, self.limits.memory or None, processes or None)
        return Prepared(uid, groups, self._plan(spec, uid, groups))

    def _open_way(self, folder: Path) -> None:
        """Let a user's account through to its folder; a sandbox has a way of its own."""
        if self.level == USER:
            for outer in folder.parents:
                if outer.is_relative_to(self.data_dir):
                    let_through(outer)

    def _plan(self, spec: LaunchSpec, uid: int | None, groups: tuple[Path, ...]) -> dict[str, Any]:
        """Give the plan; see ``confine`` for its words."""
        plan = self._giving_up(spec, uid, groups)
        if not self.landlock and self.level != SANDBOX:
            return plan
        needed = (*spec.readable, *self.shared_readable)
        as_root = self.root and uid is None
        readable = list(map(str, visible(needed, self.ours, as_root=as_root)))
        writable = list(map(str, (*spec.writable, *self.shared_writable)))
        if self.landlock:
            plan["landlock"] = {
                "readable": [*readable, "/proc", "/sys"],
                # A sandbox has a /tmp of its own.
                "writable": [*writable, *(["/tmp"] if self.level == SANDBOX else [])],  # noqa: S108
                "devices": for_root(self.devices, self.gids) if as_root else ["/dev"],
                # 0 stands for any port that the kernel chooses itself.
                "bind_ports": [spec.port, 0],
            }
        if self.level == SANDBOX:
            plan["sandbox"] = {
                "bwrap": self.bwrap,
                "readable": [*readable, "/sys"],
                "writable": writable,
                "hidden": [],
                "devices": list(map(str, self.devices)),
                "unprivileged": not self.root,
                "cwd": str(spec.cwd),
                "python": spec.argv[0],
            }
        return plan

    def _giving_up(
        self, spec: LaunchSpec, uid: int | None, groups: tuple[Path, ...]
    ) -> dict[str, Any]:
        """Give the part about the process itself: its account, its share, what it may do."""
        limits = self.limits
        # A dump of the memory would lay the user's images into whatever folder is current.
        most = {"CORE": 0}
        if limits.open_files:
            most["NOFILE"] = limits.open_files
        if limits.processes and uid is not None and not self.groups.can_limit_processes:
            # Counts all of the account's, which has one instance at a time.
            most["NPROC"] = limits.processes
        account = {} if uid is None else {"uid": uid, "gids": list(self.gids)}
        return {
            "groups": [str(path / "cgroup.procs") for path in groups],
            "nice": limits.nice,
            "oom_score_adj": limits.oom_score_adj,
            "limits": most,
            "drop": True,
            "secret": spec.secret is not None,
            **account,
        }
