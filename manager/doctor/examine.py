"""Runs every check, in the order in which people read them."""

from __future__ import annotations

import json

from manager import identity
from manager.cards.tool import Tools
from manager.doctor import machine, places, programs
from manager.doctor.backups import backups
from manager.doctor.cluster import cluster, shared
from manager.doctor.finding import OK, WARNING, Finding
from manager.doctor.https import https
from manager.doctor.webhooks import webhooks
from manager.settings import Settings

IMPORT_S = 90.0
"""PyTorch is imported from a slow disk, once."""


def examine(settings: Settings, running: identity.Identity | None, address: str) -> list[Finding]:
    """Look at everything. Takes seconds, and walks the whole database.

    Args:
        settings: those in force.
        running: the manager that lives, if any.
        address: where its page is.
    """
    tools, imports = Tools(settings.card_tool_timeout), Tools(IMPORT_S)
    caddy = _caddy(settings)
    ours = {one.pid: name for one, name in ((running, "manager"), (caddy, "Caddy")) if one}
    return [
        *_service(running, caddy, address),
        *programs.python(),
        *programs.caddy(settings),
        *programs.comfyui(settings, imports.run),
        *programs.card_tool(settings, tools.run),
        *places.ports(settings, ours),
        *places.folders(settings),
        *places.disk(settings),
        *places.database(settings),
        *places.clock(settings),
        *places.first_password(settings),
        *machine.memory(),
        *machine.limits(),
        *machine.isolation(settings),
        *machine.address(settings, running=running is not None),
        *https(settings, running=running is not None),
        *webhooks(settings),
        *backups(settings, running=running is not None),
        *cluster(settings),
        *shared(settings),
    ]


def _service(
    running: identity.Identity | None, caddy: identity.Identity | None, address: str
) -> list[Finding]:
    if running is None:
        case = "stopped" if caddy is None else "caddy_alone"
        return [Finding("service", OK if caddy is None else WARNING, case)]
    if caddy is None:
        return [Finding("service", WARNING, "no_caddy", {"address": address})]
    return [Finding("service", OK, "ok", {"address": address})]


def _caddy(settings: Settings) -> identity.Identity | None:
    path = settings.data_dir / "caddy" / "caddy.json"
    try:
        found = identity.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError):
        return None
    return found if found and identity.alive(found) else None
