"""From records to what pages and scripts read; one name per thing everywhere.

A token leaves through ``user_state`` only, to its owner. Nothing here is in a language: codes and
numbers go out, the page has the words.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from manager.lifecycle.reasons import signal_name
from manager.records import Instance, Restart, Usage, User
from manager.settings import Settings
from manager.states import HOLDS_PORT, STOPPABLE, State, actions
from manager.web import idleness, rules
from manager.web.cards import cards_view
from manager.web.cluster import cluster_view, engine_silent
from manager.web.house import Manager
from manager.web.machine import gate_view, load_view
from manager.web.notices import notices_view, service_view
from manager.web.pacing import slowdown
from manager.web.places import UNHAPPY_ENDS, availability, line_view, phase, whole_line_view
from manager.web.progress import progress_view
from manager.web.standing import with_standings
from manager.web.starting import start_view

View = dict[str, Any]

LOG_TAIL_BYTES = 4096
"""How much of a failed instance's output goes with its state."""

KIND_NAMES = {"ascend": "Ascend NPU", "cuda": "CUDA GPU", "rocm": "ROCm GPU", "cpu": "CPU"}
"""What people call the kinds; the same in every language."""


@dataclass(frozen=True)
class Address:
    """How the visitor's browser reached us; links to a workspace take the same road.

    ``remote`` is the visitor's own address, on which an admin's rights may depend.
    """

    host: str
    remote: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, Any]) -> Address:
        """Read from a request the host name, without its port, and where it came from."""
        host = bare_host(str(environ.get("HTTP_HOST", "")))
        return cls(host, str(environ.get("REMOTE_ADDR") or ""))


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
        "second_factor": user.second_factor,
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
    view |= {**_reason(usage), "evidence": idleness.evidence_view(usage)}
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
    row = manager.settings.row(instance.port)
    reading = manager.watch.reading(instance.port) if instance.state in HOLDS_PORT else None
    # All are of one kind.
    kind = manager.cards[0].kind if manager.cards else ""
    return {
        "port": row.port,
        "external_port": row.public_external_port,
        "workspace_port": row.public_workspace_port,
        "card": row.card,
        "node": manager.cluster.where(row, instance),
        "card_label": KIND_NAMES.get(kind, kind),
        "kind": kind,
        "state": str(instance.state),
        "stage": reading.stage if reading else None,
        "actions": actions(instance.state),
        "username": instance.username,
        "running": reading.running if reading else None,
        "pending": reading.pending if reading else None,
        **idleness.verdict_view(manager, instance, reading),
        "responding": reading.responding if reading else None,
        "hung_since": reading.hung_since if reading else None,
        "progress": progress_view(manager, instance, reading),
        "time": rules.time_view(manager, instance) if instance.state in STOPPABLE else None,
        "started_at": instance.started_at,
        "ready_at": instance.ready_at,
        "stop_reason": instance.stop_reason,
        "fault": instance.fault,
        "restart": restart_view(manager.lifecycle.restart_on(row.port)),
        **_reason(instance),
    }


def own_instance_view(manager: Manager, instance: Instance, address: Address) -> View:
    """Show an instance to its owner, with the links that carry its token."""
    view = instance_view(manager, instance) | idleness.asked_view(manager, instance)
    if view["progress"] is not None:
        reading = manager.watch.reading(instance.port)
        view["progress"] = progress_view(manager, instance, reading, own=True)
    view["start"] = start_view(manager, instance)
    view["workspace_url"] = view["external_url"] = None
    shut = bool(view["time"] and view["time"]["shut"])
    if instance.state is State.RUNNING and instance.token and not shut:
        host = _host(manager.settings, address)
        query = f"?token_{instance.port}={instance.token}"
        scheme = "https" if manager.settings.https else "http"
        view["workspace_url"] = f"{scheme}://{host}:{view['workspace_port']}/{query}"
        view["external_url"] = f"{scheme}://{host}:{view['external_port']}/{query}"
    return view


def _host(settings: Settings, address: Address) -> str:
    host = settings.external_ip or address.host or "localhost"
    return f"[{host}]" if ":" in host else host


def user_state(manager: Manager, user: User, address: Address, revision: int) -> View:
    """Show a user everything about his own work."""
    instance = manager.lifecycle.of_user(user.id)
    usage = None if instance else manager.lifecycle.last_usage(user.id)
    cards, line = availability(manager, user), line_view(manager, user)
    notices = notices_view(manager, user)
    limits = rules.own_limits_view(manager, user, instance)
    return {
        "user": user_view(user),
        "phase": phase(instance, usage, cards, line, _blocked(notices, limits["blocked"])),
        "instance": own_instance_view(manager, instance, address) if instance else None,
        "last_usage": usage_view(manager, usage),
        "restart": None if instance else restart_view(manager.lifecycle.restart_of(user.id)),
        "cards": cards,
        "limits": limits,
        "reservation": rules.reservation_view(manager, user, instance),
        "engine_silent": engine_silent(manager),
        "kept": idleness.kept_view(manager, user),
        "slowdown": slowdown(manager),
        "line": None if instance else line,
        "notices": notices,
        "revision": revision,
    }


def _blocked(notices: View, by_limits: str | None) -> str | None:
    """Say why somebody may not start whatever is free; what he is allowed comes first."""
    return by_limits or ("maintenance" if notices["maintenance"] else None)


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


def _by_name(user: User) -> str:
    """Put names as people look for them: neither capitals nor accents matter."""
    letters = unicodedata.normalize("NFKD", user.username).casefold()
    return "".join(sign for sign in letters if not unicodedata.combining(sign))


def overview(manager: Manager, sequence: int) -> View:
    """Show an admin everything, without a token in it."""
    leftovers, quarantine = leftovers_view(manager), quarantine_view(manager)
    held_back = {one["port"] for one in (*leftovers, *quarantine)}
    unreachable = manager.cluster.unavailable
    line, terms = manager.lifecycle.line.all(), manager.lifecycle.reservations.terms()
    parts = {
        "ports": [
            {
                **instance_view(manager, row),
                "held_back": row.port in held_back,
                "unreachable": unreachable.get(row.port, ""),
            }
            for row in manager.lifecycle.instances()
        ],
        "users": [
            {**user_view(user), **rules.disk_view(manager, user)}
            for user in sorted(manager.accounts.users(), key=_by_name)
        ],
        "load": load_view(manager),
        "gate": gate_view(manager),
        "leftovers": leftovers,
        "quarantine": quarantine,
        "webhooks": [dataclasses.asdict(one) for one in manager.care.failing()],
        "cards": cards_view(manager),
        "line": whole_line_view(manager, line),
        "limits": rules.all_limits_view(manager),
        "reservations": rules.reservations_view(manager),
        "service": service_view(manager),
        "cluster": cluster_view(manager),
        "sequence": sequence,
    }
    return with_standings(parts, line, terms)
