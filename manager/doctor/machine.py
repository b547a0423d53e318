"""The machine: memory, limits, how well it keeps users apart, and how it is reached."""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
from collections.abc import Iterator

import psutil

from manager.doctor.finding import OK, PROBLEM, WARNING, Finding
from manager.launcher import groups, landlock
from manager.settings import Settings

FEW_FILES = 4096
LITTLE_MEMORY = 2 << 30
"""Bytes."""

CONNECT_S = 3.0
LOG_TAIL_BYTES = 1 << 20
_IN_FORCE = re.compile(r"isolation: (\w+)([^\"\n]*)")


def memory() -> Iterator[Finding]:
    """Look how much memory is left."""
    now = psutil.virtual_memory()
    told: dict[str, object] = {
        "free": f"{now.available / (1 << 30):.1f}",
        "total": f"{now.total / (1 << 30):.1f}",
    }
    little = now.available < LITTLE_MEMORY
    yield Finding("memory", WARNING if little else OK, "little" if little else "ok", told)


def limits() -> Iterator[Finding]:
    """Look how many files a process may have open; each open page and workspace takes some."""
    _soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    told: dict[str, object] = {"count": most if most != resource.RLIM_INFINITY else "∞"}
    few = most != resource.RLIM_INFINITY and most < FEW_FILES
    yield Finding("files", WARNING if few else OK, "few" if few else "ok", told)


def isolation(settings: Settings) -> Iterator[Finding]:
    """Say how users are kept apart, as the last start found out, and what more could be had."""
    found = _in_force(settings)
    root = os.geteuid() == 0
    if found is None:
        yield Finding("isolation", OK, "unknown")
    else:
        level, more = found
        told: dict[str, object] = {
            "level": level,
            "more": f" {more.strip()}" if more.strip() else "",
        }
        if level != "directories":
            yield Finding("isolation", OK, "ok", told)
        elif root:
            yield Finding("isolation", PROBLEM, "root", told)
        else:
            yield Finding("isolation", WARNING, "directories", told)
    bwrap = shutil.which("bwrap")
    yield Finding("bubblewrap", OK if bwrap else WARNING, "ok" if bwrap else "missing")
    version = landlock.abi()
    case = "ok" if version else "none"
    yield Finding("landlock", OK if version else WARNING, case, {"version": version})
    kinds = groups.find().kinds
    told = {"kinds": ", ".join(kinds)}
    yield Finding("cgroups", OK if kinds else WARNING, "ok" if kinds else "none", told)


def _in_force(settings: Settings) -> tuple[str, str] | None:
    try:
        with settings.log_path.open("rb") as file:
            file.seek(max(0, settings.log_path.stat().st_size - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return None
    found = _IN_FORCE.findall(text)
    return found[-1] if found else None


def address(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """Look whether the address of workspace links can be had, and answers."""
    host, port = settings.external_ip, settings.manager_port
    if not host:
        yield Finding("address", OK, "visitors")
        return
    told: dict[str, object] = {"host": host, "port": port}
    try:
        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield Finding("address", PROBLEM, "no_name", {**told, "reason": str(error)})
        return
    if not running:
        yield Finding("address", OK, "named", told)
        return
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except OSError as error:
        yield Finding("address", WARNING, "silent", {**told, "reason": str(error)})
    else:
        yield Finding("address", OK, "ok", told)
