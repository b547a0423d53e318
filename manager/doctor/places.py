"""Where a manager keeps and offers things: folders, files and their modes, the database, ports."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from manager.credentials import FIRST_ADMIN, matches
from manager.doctor.finding import OK, PROBLEM, WARNING, Finding
from manager.gate import probe
from manager.launcher.ownership import WAY_MODE
from manager.settings import Settings
from manager.states import HOLDS_PORT
from manager.store import copies, newest_moment, password_hash_in, peek_ports
from manager.store.database import latest_version, version_of

LITTLE_DISK, NO_DISK = 10 << 30, 1 << 30
"""Bytes: less is a warning, a problem."""

CLOCK_SLACK_S = 60.0


def folders(settings: Settings) -> Iterator[Finding]:
    """Look whether what must be written can be, and who else can read it."""
    bad = False
    places = {
        settings.data_dir,
        settings.database_path.parent,
        settings.caddyfile.parent,
        settings.log_path.parent,
    }
    for place in sorted(places):
        there = next(path for path in (place, *place.parents) if path.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            bad = True
            yield Finding("folders", PROBLEM, "unwritable", {"path": str(place)})
    for path, wanted in _modes(settings):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o777 & ~wanted:
            bad = True
            mode = f"{stat.S_IMODE(path.stat().st_mode):o}"
            told: dict[str, object] = {"path": str(path), "mode": mode, "wanted": f"{wanted:o}"}
            yield Finding("folders", WARNING, "open", told)
    if not bad:
        yield Finding("folders", OK, "ok", {"path": str(settings.data_dir)})


def _modes(settings: Settings) -> Iterator[tuple[Path, int]]:
    yield settings.data_dir, WAY_MODE
    yield settings.data_dir / "secret_key", 0o600
    yield settings.data_dir / "caddy", 0o700
    yield settings.database_path, 0o600
    yield settings.log_path, 0o600
    yield settings.webhooks_file, 0o600


def disk(settings: Settings) -> Iterator[Finding]:
    """Look how much room is left where users' files are."""
    place = settings.data_dir
    there = next(path for path in (place, *place.parents) if path.exists())
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        yield Finding("disk", PROBLEM, "unknown", {"path": str(there), "reason": str(error)})
        return
    told: dict[str, object] = {"path": str(there), "free": _gib(free)}
    level = PROBLEM if free < NO_DISK else WARNING if free < LITTLE_DISK else OK
    yield Finding("disk", level, "ok" if level == OK else "little", told)


def _gib(count: int) -> str:
    return f"{count / (1 << 30):.1f}"


def database(settings: Settings) -> Iterator[Finding]:
    """Read the whole database, and compare its schema and its newest entry with what should be."""
    path = settings.database_path
    told: dict[str, object] = {"path": str(path)}
    if not path.exists():
        yield Finding("database", OK, "none", told)
        return
    version = version_of(path)
    wrong = copies.integrity(path) if version is not None else "it cannot be read"
    if wrong:
        yield Finding("database", PROBLEM, "damaged", {**told, "reason": wrong})
    elif version is not None and version > latest_version():
        yield Finding("database", PROBLEM, "newer", {**told, "schema": version})
    else:
        case = "ok" if version == latest_version() else "older"
        size = f"{path.stat().st_size / (1 << 20):.1f}"
        yield Finding("database", OK, case, {**told, "size": size})


def first_password(settings: Settings) -> Iterator[Finding]:
    """Look whether the printed password opens the first account."""
    stored = password_hash_in(settings.database_path, FIRST_ADMIN[0])
    known = bool(stored) and matches(stored, FIRST_ADMIN[1], known=True)
    yield Finding("first_password", WARNING if known else OK, "known" if known else "ok")


def clock(settings: Settings) -> Iterator[Finding]:
    """Look whether something stands in the database that lies in the future."""
    newest = newest_moment(settings.database_path)
    ahead = (newest or 0.0) - time.time()
    if ahead > CLOCK_SLACK_S:
        yield Finding("clock", WARNING, "back", {"minutes": round(ahead / 60)})
        return
    kept = Path("/run/systemd/timesync/synchronized").exists()
    yield Finding("clock", OK, "kept" if kept else "ok")


def ports(settings: Settings, ours: Mapping[int, str]) -> Iterator[Finding]:
    """Look whether every port is free or ours.

    Args:
        settings: which ports there are.
        ours: the process ids of the manager and its Caddy that live, and what they are.
    """
    holders, seen_all = _holders()
    bad = False
    for port, host in _listened(settings):
        taken = not probe.is_free(host, port)
        pid = holders.get(port)
        # Who may not see other accounts' processes finds no number: theirs is taken for ours.
        if taken and pid not in ours and (seen_all or not ours or pid is not None):
            bad = True
            yield Finding("ports", PROBLEM, "taken", {"port": port, "holder": _named(port)})
    held = {row.port for row in peek_ports(settings.database_path) if row.state in HOLDS_PORT}
    for row in settings.ports:
        if row.node is None and row.port not in held and not probe.is_free("127.0.0.1", row.port):
            bad = True
            holder = _named(row.port)
            yield Finding("ports", PROBLEM, "taken", {"port": row.port, "holder": holder})
    if not bad:
        count = 1 + sum(3 if row.node is None else 2 for row in settings.ports)
        yield Finding("ports", OK, "ok", {"count": count})


def _listened(settings: Settings) -> Iterator[tuple[int, str]]:
    yield settings.manager_port, settings.manager_host
    for row in settings.ports:
        yield row.workspace_port, settings.gate_host
        yield row.external_port, settings.gate_host


def _holders() -> tuple[dict[int, int], bool]:
    """Give who listens on which port, as far as this account sees, and whether that is all."""
    found: dict[int, int] = {}
    whole = True
    try:
        for one in psutil.net_connections(kind="tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr:
                whole = whole and one.pid is not None
                if one.pid is not None:
                    found[one.laddr.port] = one.pid
    except (psutil.Error, OSError):
        return found, False
    return found, whole


def _named(port: int) -> str:
    return probe.holder(port)
