"""How the machine and Caddy are, for the admins' page."""

from __future__ import annotations

from typing import Any

from manager.web.house import Manager


def load_view(manager: Manager) -> dict[str, Any] | None:
    """Show how busy the machine is, in whole percent and bytes."""
    reading = manager.load.latest()
    if reading is None:
        return None
    return {
        "cpu_percent": round(reading.cpu_percent),
        "memory_percent": round(reading.memory_percent),
        "memory_used": reading.memory_used,
        "memory_total": reading.memory_total,
        "disk_percent": round(reading.disk_percent),
        "disk_free": reading.disk_free,
        "slowdown": reading.slowdown,
    }


def gate_view(manager: Manager) -> dict[str, Any]:
    """Show how Caddy is."""
    health = manager.gate.watch()
    return {"running": health.running, "version": health.version, "problem": health.problem}
