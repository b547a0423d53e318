"""What ``status`` prints: the manager, Caddy and each port, read from outside without touching any.

Works whether the manager runs or not.
"""

from __future__ import annotations

import json
from typing import Any

import requests

from manager import identity
from manager.bootstrap import read_record
from manager.settings import Settings
from manager.states import HOLDS_PORT
from manager.store import peek_ports

HEALTH_TIMEOUT_S = 2.0


def report(settings: Settings) -> dict[str, Any]:
    """Look at everything and give it as JSON can hold it."""
    found, address = read_record(settings.data_dir)
    return {
        "manager": {
            "running": found is not None,
            "pid": found.pid if found else None,
            "address": address,
            "answers": bool(found) and _answers(address),
        },
        "caddy": _caddy(settings),
        "demo": settings.demo,
        "comfyui_path": str(settings.comfyui_path),
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
    if found["demo"]:
        lines.append(f"demo: there is no main.py in {found['comfyui_path']} (COMFYUI_PATH)")
    for row in found["ports"]:
        who = f" {row['username']}, process {row['process_id']}" if row["held"] else ""
        lines.append(f"port {row['port']} (card {row['card']}): {row['state']}{who}")
    return lines


def _answers(address: str) -> bool:
    session = requests.Session()
    session.trust_env = False
    try:
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
            "card": row.card,
            "state": str(rows[row.port].state) if row.port in rows else "idle",
            "held": row.port in rows and rows[row.port].state in HOLDS_PORT,
            "username": rows[row.port].username if row.port in rows else None,
            "process_id": rows[row.port].process_id if row.port in rows else None,
        }
        for row in settings.ports
    ]
