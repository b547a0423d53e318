"""What ``status`` prints: the manager, Caddy and each port, read from outside without touching any.

Works whether the manager runs or not.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import time
import warnings
from typing import Any

import requests
from urllib3.exceptions import InsecureRequestWarning

from manager import __version__, identity
from manager.backup import scheduled
from manager.cards import kind_in_force
from manager.data_dir import read_record
from manager.gate.tls import shown
from manager.settings import Settings
from manager.states import HOLDS_PORT
from manager.store import peek_counts, peek_maintenance, peek_ports

HEALTH_TIMEOUT_S = 2.0


def report(settings: Settings) -> dict[str, Any]:
    """Look at everything and give it as JSON can hold it."""
    found, address = read_record(settings.data_dir)
    counts = peek_counts(settings.database_path)
    return {
        "version": __version__,
        "manager": {
            "running": found is not None,
            "pid": found.pid if found else None,
            "address": address,
            "answers": bool(found) and _answers(address),
        },
        "caddy": _caddy(settings),
        "tls": _tls(settings),
        "demo": settings.demo,
        "comfyui_path": str(settings.comfyui_path),
        "cards": kind_in_force(settings),
        "line": counts.get("line", 0),
        "quarantine": counts.get("quarantine", 0),
        "disk_free": _disk_free(settings),
        "maintenance": maintenance_report(settings),
        "backup": _backup(settings),
        "ports": _ports(settings),
    }


def report_lines(found: dict[str, Any]) -> list[str]:
    """Give the report as lines for people."""
    manager, caddy = found["manager"], found["caddy"]
    if manager["running"]:
        state = "answers" if manager["answers"] else "runs, but does not answer"
        lines = [f"manager: {state} on {manager['address']} (pid {manager['pid']})"]
    else:
        lines = ["manager: not running"]
    lines.append(
        f"caddy: running (pid {caddy['pid']})" if caddy["running"] else "caddy: not running"
    )
    if found["tls"]:
        lines.append(_tls_line(found["tls"]))
    if found["demo"]:
        lines.append(f"demo: there is no main.py in {found['comfyui_path']} (COMFYUI_PATH)")
    lines += maintenance_lines(found["maintenance"])
    lines += _backup_lines(found["backup"])
    for row in found["ports"]:
        process = f", process {row['process_id']}" if row["process_id"] is not None else ""
        who = f" {row['username']}{process}" if row["held"] else ""
        where = f", node {row['node']}" if row["node"] else ""
        lines.append(f"port {row['port']} (card {row['card']}{where}): {row['state']}{who}")
    return lines


def maintenance_report(settings: Settings) -> dict[str, Any]:
    """Say whether nothing is started any more, and how many instances are still there."""
    one = peek_maintenance(settings.database_path)
    held = sum(row.state in HOLDS_PORT for row in peek_ports(settings.database_path))
    told = {name: getattr(one, name, None) for name in ("begun_by", "begun_at", "until", "reason")}
    return {"on": one is not None, **told, "left": held, "empty": held == 0}


def maintenance_lines(found: dict[str, Any]) -> list[str]:
    """Give that as lines for people; none while it is off."""
    if not found["on"]:
        return []
    planned = f", planned until {_local(found['until'])}" if found["until"] is not None else ""
    line = f"maintenance: on since {_local(found['begun_at'])} ({found['begun_by']}){planned}"
    if found["reason"]:
        line += f": {found['reason']}"
    left = "nothing runs any more: safe to stop now"
    if not found["empty"]:
        left = f"nothing is started any more; {found['left']} ComfyUI still there"
    return [line, f"maintenance: {left}"]


def _backup(settings: Settings) -> dict[str, Any]:
    """Give the newest backup that the manager made by itself, and what kept it from another."""
    last = scheduled.newest(scheduled.folder(settings))
    return {
        "every_hours": settings.backup_every_hours,
        "path": str(last.path) if last else None,
        "at": last.at if last else None,
        "problem": scheduled.tried(settings).problem if settings.backup_every_hours else "",
    }


def _backup_lines(found: dict[str, Any]) -> list[str]:
    """Give that as lines for people."""
    if found["problem"]:
        return [f"backup: none was made: {found['problem']}"]
    if found["at"] is not None:
        hours = max(0, round((time.time() - found["at"]) / 3600))
        return [f"backup: {_local(found['at'])}, {hours} h ago: {found['path']}"]
    return ["backup: none yet"] if found["every_hours"] else []


def _local(epoch: float) -> str:
    moment = dt.datetime.fromtimestamp(epoch, dt.timezone.utc).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M")


def _tls(settings: Settings) -> dict[str, Any] | None:
    """Give the certificate that people trust; None without TLS."""
    found = shown(settings)
    if found is None:
        return None
    certificate = found.certificate
    return {
        "kind": settings.tls,
        "path": str(found.path),
        "until": certificate.expires_at if certificate else None,
        "fingerprint": certificate.fingerprint if certificate else None,
        "problem": found.problem or found.waiting,
    }


def _tls_line(tls: dict[str, Any]) -> str:
    if tls["problem"]:
        return f"https: {tls['problem'].removeprefix('HTTPS: ')}"
    if tls["until"] is None:
        return "https: its own authority is made when Caddy starts"
    until = time.strftime("%Y-%m-%d", time.gmtime(tls["until"]))
    what = "root certificate" if tls["kind"] == "internal" else "certificate"
    return f"https: {what} {tls['path']}, until {until}, SHA-256 {tls['fingerprint']}"


def _disk_free(settings: Settings) -> int | None:
    """Give the room where users' files are, in bytes."""
    try:
        return shutil.disk_usage(settings.data_dir).free
    except OSError:
        return None


def _answers(address: str) -> bool:
    session = requests.Session()
    session.trust_env = False
    # Whether it answers is all that is asked; for which names its certificate is, does not matter.
    session.verify = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            with session.get(f"{address}/healthz", timeout=HEALTH_TIMEOUT_S) as response:
                return bool(response.status_code == requests.codes.ok)
    except requests.RequestException:
        return False
    finally:
        session.close()


def _caddy(settings: Settings) -> dict[str, Any]:
    path = settings.data_dir / "caddy" / "caddy.json"
    try:
        found = identity.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError):
        found = None
    running = found is not None and identity.alive(found)
    return {"running": running, "pid": found.pid if found and running else None}


def _ports(settings: Settings) -> list[dict[str, Any]]:
    rows = {row.port: row for row in peek_ports(settings.database_path)}
    return [
        {
            "port": row.port,
            "external_port": row.external_port,
            "workspace_port": row.workspace_port,
            "card": row.card,
            "device": row.device,
            "node": row.node,
            "state": str(rows[row.port].state) if row.port in rows else "idle",
            "held": row.port in rows and rows[row.port].state in HOLDS_PORT,
            "username": rows[row.port].username if row.port in rows else None,
            "process_id": rows[row.port].process_id if row.port in rows else None,
            "launch_id": rows[row.port].launch_id if row.port in rows else None,
            "started_at": rows[row.port].started_at if row.port in rows else None,
            "idle_seconds": rows[row.port].idle_count if row.port in rows else 0,
            "fault": rows[row.port].fault_kind if row.port in rows else None,
        }
        for row in settings.ports
    ]
