"""Choosing how instances are kept apart, by running each way once on this very machine.

Versions and features tell little: a container may forbid what its kernel has, a folder may be
closed to other accounts. So a small program runs below a real supervisor, confined as an instance
would be, with ComfyUI's own Python; it must see what an instance needs and must not see what it
may not. What was asked for by name and does not work refuses to start; ``auto`` takes the highest
that works and keeps the reasons for the others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manager.errors import DISK_ERRNOS, LaunchFailed, SettingsError, StoreFailed
from manager.launcher import demands, groups, landlock, ranges
from manager.launcher.isolation import DIRECTORIES, LEVELS, MIB, SANDBOX, USER, Isolation, Limits
from manager.launcher.local import LocalLauncher
from manager.launcher.ownership import closed_to_others
from manager.launcher.protocol import LaunchSpec, Liveness
from manager.runtime import offload
from manager.settings import Settings

logger = logging.getLogger(__name__)

TRIAL_S = 20.0
"""A Python on a busy machine may take seconds; one that hangs must not hold up the manager."""

MOST_KILL_S = 5.0
LOOK_S = 0.02
LOG_BYTES = 65_536
WORKS = "this way of isolation works"

_CODE = f"""
import os, sys
own, hidden, uid, *needed = sys.argv[1:]
with open(os.path.join(own, "written"), "w") as file:
    file.write("x")
for path in needed:
    os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
if uid and os.getuid() != int(uid):
    sys.exit(f"it runs as account {{os.getuid()}} and not as {{uid}}")
if hidden:
    try:
        open(hidden).read()
    except OSError:
        pass
    else:
        sys.exit("it can read what belongs to the manager")
print({WORKS!r})
"""
"""Runs under ComfyUI's Python, so it keeps to what every Python 3 knows."""


@dataclass(frozen=True)
class Host:
    """What is to be known of the machine and of ComfyUI before anything is tried.

    Args:
        python: the program that runs ComfyUI.
        needed: what an instance must be able to read.
        devices: nodes of the accelerators.
        gids: groups needed to open them.
        no_sandbox: why ``auto`` may not choose the sandbox here; empty when it may.
    """

    root: bool
    python: str
    needed: tuple[Path, ...] = ()
    devices: tuple[Path, ...] = ()
    gids: tuple[int, ...] = ()
    no_sandbox: str = ""


def choose(settings: Settings, host: Host, ours: tuple[Path, ...]) -> Isolation:
    """Choose the way of isolation in force.

    Raises:
        SettingsError: ISOLATION or a limit was asked for and does not work here, or DATA_DIR
            cannot be used; says why.
        StoreFailed: the disk of DATA_DIR is full or read-only.
    """
    base = lowest(settings, host, ours, note=settings.isolation != DIRECTORIES)
    demands.check_memory(settings, base)
    demands.check_shared(settings, base)
    refused: dict[str, str] = {} if base.landlock else {"landlock": _no_landlock(settings)}
    wanted = LEVELS if settings.isolation == "auto" else (settings.isolation,)
    highest: Isolation | None = None
    for level in wanted:
        refused[level] = _unfit(level, base, host, asked=settings.isolation == level)
        if refused[level]:
            continue
        candidate = dataclasses.replace(base, level=level)
        highest = highest or candidate
        refused[level] = problem = _try(settings, candidate, host)
        if problem and base.landlock:
            candidate = dataclasses.replace(candidate, landlock=0)
            refused[level] = _try(settings, candidate, host)
            if not refused[level]:
                refused["landlock"] = problem
        if not refused[level]:
            del refused[level]
            demands.check_processes(settings, candidate)
            return dataclasses.replace(candidate, refused=refused)
    if settings.isolation == "auto" and highest is not None:
        # Not even the plain way works: so the starts themselves will say why on the page. They stay
        # at the highest level: what is mended meanwhile is no reason for less isolation.
        demands.check_processes(settings, highest)
        return dataclasses.replace(highest, refused=refused)
    raise SettingsError(
        f"ISOLATION = {settings.isolation} does not work here: {refused[settings.isolation]}; "
        "allowed: auto, or one that works"
    )


def lowest(
    settings: Settings, host: Host, ours: tuple[Path, ...], *, note: bool = False
) -> Isolation:
    """Give what holds on any machine: own folders, and Landlock where the kernel has it.

    With ``note`` other managers learn that the range of accounts is in use, if it is free.
    """
    range_of = (settings.isolation_uid_base, settings.data_dir)
    return Isolation(
        level=DIRECTORIES,
        landlock=offload(landlock.abi) if settings.landlock == "auto" else 0,
        root=host.root,
        uid_base=settings.isolation_uid_base,
        groups=offload(groups.find),
        data_dir=settings.data_dir,
        ours=ours,
        limits=_limits(settings),
        shared_readable=settings.shared_readable,
        shared_writable=settings.shared_writable,
        devices=host.devices,
        gids=host.gids,
        bwrap=shutil.which("bwrap") or "",
        taken=offload(ranges.taken, *range_of, note) if host.root else "",
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.instance_memory_max * MIB,
        settings.instance_processes_max,
        settings.instance_open_files,
        settings.instance_nice,
        settings.instance_oom_score_adj,
    )


def _no_landlock(settings: Settings) -> str:
    return "LANDLOCK = off" if settings.landlock == "off" else "this kernel has none, or it is off"


def _unfit(level: str, base: Isolation, host: Host, *, asked: bool) -> str:
    """Say why a level need not be tried; empty when it is to be tried."""
    if level == USER and not base.root:
        return "own accounts need a manager that runs as root"
    taken = demands.taken(base) if base.root and level != DIRECTORIES else ""
    if taken:
        return taken
    if level != SANDBOX:
        return ""
    if host.no_sandbox and not asked:
        return host.no_sandbox
    return (
        "" if base.bwrap else "bubblewrap is not installed (Debian/Ubuntu: apt install bubblewrap)"
    )


def _try(settings: Settings, isolation: Isolation, host: Host) -> str:
    """Run the trial program confined; give what went wrong, empty when it works."""
    name = f"trial-{secrets.token_hex(4)}"
    folder = settings.data_dir / "workspaces" / name
    launcher = LocalLauncher(settings.data_dir / "runs", isolation)
    try:
        offload(folder.mkdir, 0o700, True)
    except OSError as error:
        kind = StoreFailed if error.errno in DISK_ERRNOS else SettingsError
        raise kind(
            f"DATA_DIR = {settings.data_dir} cannot be used: {folder.parent}: {error.strerror}; "
            "allowed: a folder that this account may write"
        ) from error
    try:
        launcher.start(_spec(settings, isolation, host, name, folder))
        return _explain(isolation, host, _outcome(launcher, name))
    except LaunchFailed as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in DISK_ERRNOS:
            # It would be so at each level, and none is the worse for it.
            raise StoreFailed(f"DATA_DIR = {settings.data_dir} cannot be used: {error}") from error
        return str(error)
    finally:
        offload(_clean, folder, settings.data_dir / "runs" / name)


def _spec(
    settings: Settings, isolation: Isolation, host: Host, name: str, folder: Path
) -> LaunchSpec:
    uid = isolation.uid(0)
    kept_out = isolation.landlock or uid is not None or isolation.level == SANDBOX
    hidden = settings.data_dir / "runs" / name / "meta" if kept_out else ""
    words = (str(folder), str(hidden), "" if uid is None else str(uid), *map(str, host.needed))
    return LaunchSpec(
        name,
        (host.python, "-c", _CODE, *words),
        {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"},
        folder,
        LOG_BYTES,
        user_id=0,
        writable=(folder,),
        readable=host.needed,
    )


def _outcome(launcher: LocalLauncher, name: str) -> str:
    until = time.monotonic() + TRIAL_S
    while launcher.poll(name).liveness is not Liveness.GONE:
        if time.monotonic() > until:
            launcher.stop(name, force=True)
            if time.monotonic() > until + MOST_KILL_S:
                return "it does not end"
        time.sleep(LOOK_S)
    if time.monotonic() > until:
        return f"nothing came of it in {TRIAL_S:g} s"
    printed = launcher.logs(name, LOG_BYTES).strip()
    if launcher.poll(name).exit_code == 0 and printed.endswith(WORKS):
        return ""
    return printed.splitlines()[-1] if printed else "it ended without a word"


def _explain(isolation: Isolation, host: Host, problem: str) -> str:
    """Add what to do, where the usual cause is found: a folder that only its owner may pass."""
    if not problem or isolation.level != USER:
        return problem
    for path in (Path(host.python), *host.needed):
        closed = closed_to_others(path)
        if closed is not None:
            return (
                f"other accounts may not pass {closed} (chmod o+x {closed}, or move {path} to a "
                f"folder like /opt): {problem}"
            )
    return problem


def _clean(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            # Gone only where nothing else is in it.
            folder.parent.rmdir()


def summary(isolation: Isolation) -> str:
    """Put what is in force into one line for the log."""
    node = isolation.node()
    with_landlock = f" with Landlock {node.landlock}" if node.landlock else ""
    reasons = "; ".join(f"{name}: {why}" for name, why in _sorted(node.refused))
    return f"isolation: {node.level}{with_landlock}" + (f" ({reasons})" if reasons else "")


def _sorted(refused: Mapping[str, str]) -> list[tuple[str, str]]:
    order = (*LEVELS, "landlock")
    return sorted(refused.items(), key=lambda item: order.index(item[0]))
