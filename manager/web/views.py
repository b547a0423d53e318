"""From records to what pages and scripts read; one name per thing everywhere.

A token leaves through ``user_state`` only, to its owner. Nothing here is in a language: codes and
numbers go out, the page has the words.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manager import settings as settings_module
from manager.lifecycle.reasons import signal_name
from manager.ports import PortRow
from manager.records import Instance, Restart, Usage, User
from manager.settings import Settings
from manager.states import HOLDS_PORT, State, actions
from manager.web.cards import cards_view
from manager.web.house import Card, Manager

View = dict[str, Any]

LOG_TAIL_BYTES = 4096
"""How much of a failed instance's output goes with its state."""

KIND_NAMES = {"ascend": "Ascend NPU", "cuda": "CUDA GPU", "rocm": "ROCm GPU", "cpu": "CPU"}
"""What people call the kinds; the same in every language."""

UNHAPPY_ENDS = frozenset({"overdue", "died", "launch_failed", "hung"})


@dataclass(frozen=True)
class Address:
    """How the visitor's browser reached us; links to a workspace take the same road."""

    host: str

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Address:
        """Read the host name from a request, without its port."""
        return cls(bare_host(str(environ.get("HTTP_HOST", ""))))


def bare_host(host: str) -> str:
    """Cut the port off a Host header, keeping an IPv6 address whole."""
    if host.startswith("["):
        return host[1:].split("]")[0]
    return host.rsplit(":", 1)[0] if ":" in host else host


class Revision:
    """Numbers that only grow, also over a restart, so that a page can drop what is older."""

    def __init__(self) -> None:
        """Begin anywhere below now."""
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        """Give a number greater than all before."""
        with self._lock:
            self._last = max(self._last + 1, int(time.time() * 1000))
            return self._last


def user_view(user: User) -> View:
    """Show an account, for its owner and for admins."""
    return {
        "id": user.id,
        "username": user.username,
        "is_admin": user.is_admin,
        "is_active": user.is_active,
        "assigned_port": user.assigned_port,
        "must_change_password": user.must_change_password,
        "created_at": user.created_at,
    }


def usage_view(manager: Manager, usage: Usage | None) -> View | None:
    """Show how a session of use went; with the last log lines when it ended badly."""
    if usage is None:
        return None
    view = {
        name: getattr(usage, name)
        for name in ("port", "card", "started_at", "ready_at", "ended_at", "end_reason", "fault")
    }
    view |= _reason(usage)
    unhappy = usage.end_reason in UNHAPPY_ENDS
    view["log_tail"] = (
        manager.lifecycle.log_tail(usage.launch_id, LOG_TAIL_BYTES) if unhappy else None
    )
    return view


def _reason(ended: Usage | Instance) -> View:
    """Show why something ended; the page has a sentence for each kind."""
    return {
        "fault_kind": ended.fault_kind,
        "fault_line": ended.fault_line,
        "exit_code": ended.exit_code,
        "signal": signal_name(ended.exit_code),
    }


def restart_view(restart: Restart | None) -> View | None:
    """Show a restart that waits, or why none will come."""
    if restart is None:
        return None
    return {
        "seconds": math.ceil(restart.seconds),
        "attempt": restart.attempt,
        "most": restart.most,
        "over": restart.over,
    }


def instance_view(manager: Manager, instance: Instance) -> View:
    """Show an instance without its secrets, as admins may see it."""
    settings = manager.settings
    row = settings.row(instance.port)
    reading = manager.watch.reading(instance.port) if instance.state in HOLDS_PORT else None
    card = _card(manager, row)
    return {
        "port": row.port,
        "external_port": row.public_external_port,
        "workspace_port": row.public_workspace_port,
        "card": row.card,
        "card_label": KIND_NAMES.get(card.kind, card.kind) if card else "",
        "kind": card.kind if card else "",
        "state": str(instance.state),
        "stage": reading.stage if reading else None,
        "actions": actions(instance.state),
        "username": instance.username,
        "running": reading.running if reading else None,
        "pending": reading.pending if reading else None,
        "idle_seconds": _whole(reading.idle_seconds) if reading else None,
        "idle_left": _whole(reading.idle_left) if reading else None,
        "idle_timeout": settings.idle_timeout,
        "responding": reading.responding if reading else None,
        "hung_since": reading.hung_since if reading else None,
        "started_at": instance.started_at,
        "ready_at": instance.ready_at,
        "stop_reason": instance.stop_reason,
        "fault": instance.fault,
        "restart": restart_view(manager.lifecycle.restart_on(row.port)),
        **_reason(instance),
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _card(manager: Manager, row: PortRow) -> Card | None:
    return next((card for card in manager.cards if card.card == row.card), None)


def own_instance_view(manager: Manager, instance: Instance, address: Address) -> View:
    """Show an instance to its owner, with the links that carry its token."""
    view = instance_view(manager, instance)
    view["workspace_url"] = view["external_url"] = None
    if instance.state is State.RUNNING and instance.token:
        host = _host(manager.settings, address)
        query = f"?token_{instance.port}={instance.token}"
        # The gates speak plain HTTP; with COOKIE_SECURE something in front of them speaks HTTPS.
        scheme = "https" if manager.settings.cookie_secure else "http"
        view["workspace_url"] = f"{scheme}://{host}:{view['workspace_port']}/{query}"
        view["external_url"] = f"{scheme}://{host}:{view['external_port']}/{query}"
    return view


def _host(settings: Settings, address: Address) -> str:
    host = settings.external_ip or address.host or "localhost"
    return f"[{host}]" if ":" in host else host


def availability(manager: Manager, user: User) -> View:
    """Say how many of the ports that a user may take are free."""
    instances = manager.lifecycle.instances()
    allowed = [i for i in instances if user.assigned_port in (None, i.port)]
    closed = manager.lifecycle.unavailable
    unheld = [i for i in allowed if i.state not in HOLDS_PORT]
    free = [i for i in unheld if i.port not in closed]
    return {"free": len(free), "total": len(allowed), "held_back": len(unheld) - len(free)}


def user_state(manager: Manager, user: User, address: Address, revision: int) -> View:
    """Show a user everything about his own work."""
    instance = manager.lifecycle.of_user(user.id)
    usage = None if instance else manager.lifecycle.last_usage(user.id)
    cards = availability(manager, user)
    return {
        "user": user_view(user),
        "phase": _phase(instance, usage, cards),
        "instance": own_instance_view(manager, instance, address) if instance else None,
        "last_usage": usage_view(manager, usage),
        "restart": None if instance else restart_view(manager.lifecycle.restart_of(user.id)),
        "cards": cards,
        "revision": revision,
    }


def _phase(instance: Instance | None, usage: Usage | None, cards: View) -> str:
    """Say which face the page shows: the instance's state, or why there is none."""
    if instance:
        return str(instance.state)
    if cards["free"] == 0:
        if cards["total"] and cards["held_back"] == cards["total"]:
            return "held_back"
        return "full" if cards["total"] else "no_port"
    return "failed" if usage and usage.end_reason in UNHAPPY_ENDS else "idle"


def load_view(manager: Manager) -> View | None:
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
    }


def gate_view(manager: Manager) -> View:
    """Show how Caddy is."""
    health = manager.gate.watch()
    return {"running": health.running, "version": health.version, "problem": health.problem}


def leftovers_view(manager: Manager) -> list[View]:
    """Show what lives without a row."""
    leftovers = manager.lifecycle.leftovers
    return [
        {**dataclasses.asdict(one), "ending": leftovers.is_ending(one.launch_id)}
        for one in leftovers.all()
    ]


def quarantine_view(manager: Manager) -> list[View]:
    """Show the ports that are held back."""
    return [
        {
            "port": entry.port,
            "card": entry.card,
            "since": entry.since,
            "reason": entry.reason,
            "clear": clear,
        }
        for entry, clear in manager.lifecycle.quarantine.all()
    ]


def overview(manager: Manager, sequence: int) -> View:
    """Show an admin everything, without a token in it."""
    return {
        "ports": [instance_view(manager, row) for row in manager.lifecycle.instances()],
        "users": [user_view(user) for user in manager.accounts.users()],
        "load": load_view(manager),
        "gate": gate_view(manager),
        "leftovers": leftovers_view(manager),
        "quarantine": quarantine_view(manager),
        "cards": cards_view(manager),
        "sequence": sequence,
    }


def overview_diff(old: View, new: View) -> View:
    """Give what changed between two overviews; ports one by one, the rest part by part."""
    before = {view["port"]: view for view in old.get("ports", ())}
    diff: View = {
        part: new[part]
        for part in ("users", "load", "gate", "leftovers", "quarantine", "cards")
        if new[part] != old.get(part)
    }
    ports = [view for view in new["ports"] if view != before.get(view["port"])]
    if ports:
        diff["ports"] = ports
    return diff


def settings_view(settings: Settings) -> list[View]:
    """List the settings in force for the admin page; none of them is a secret."""
    shown = []
    for name in settings_module.names():
        if name == "PORTS":
            continue
        value = getattr(settings, name.lower())
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        shown.append({"name": name, "value": text, **settings_module.describe(name)})
    return shown
