"""What the settings ask of isolation besides a level, and whether this machine can keep it.

Refused at the manager's start, in words, instead of found out by somebody's lost work.
"""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from manager.errors import SettingsError
from manager.launcher import account
from manager.launcher.isolation import Isolation
from manager.settings import Settings


def check_memory(settings: Settings, isolation: Isolation) -> None:
    """Refuse a limit that no control group can keep.

    Raises:
        SettingsError: says which.
    """
    if isolation.limits.memory and not isolation.groups.can_limit_memory:
        raise SettingsError(
            f"INSTANCE_MEMORY_MAX = {settings.instance_memory_max} cannot be kept here: no control "
            "group with a limit for memory may be made; allowed: 0 (docs/operations.md: Limits)"
        )


def check_shared(settings: Settings, isolation: Isolation) -> None:
    """Refuse to share with everybody what no instance may even see.

    Raises:
        SettingsError: says which folder.
    """
    for shared in map(os.path.realpath, settings.shared_writable):
        for ours in map(os.path.realpath, isolation.ours):
            if Path(ours).is_relative_to(shared) or Path(shared).is_relative_to(ours):
                raise SettingsError(
                    f"SHARED_WRITABLE = {shared} is not allowed: it holds, or lies in, {ours}, "
                    "which no instance may see; allowed: a folder beside it"
                )


def check_processes(settings: Settings, isolation: Isolation) -> None:
    """Refuse a limit that neither a control group nor an own account can keep.

    Raises:
        SettingsError: says which.
    """
    able = isolation.groups.can_limit_processes or isolation.own_accounts
    if isolation.limits.processes and not able:
        raise SettingsError(
            f"INSTANCE_PROCESSES_MAX = {settings.instance_processes_max} cannot be kept here: "
            "neither control groups nor own accounts work; allowed: 0"
        )


def taken(base: Isolation) -> str:
    """Say whose account lies in the range for users, since all in it may be ended."""
    if base.taken:
        return base.taken
    ours = account.accounts(base.uid_base)
    for known in pwd.getpwall():
        if known.pw_uid == base.uid_base or known.pw_uid in ours:
            return (
                f"ISOLATION_UID_BASE = {base.uid_base}: the range that it begins holds account "
                f"{known.pw_uid} ({known.pw_name}); choose another"
            )
    return ""
