"""What is free for whom, and how the waiting line stands; for pages and scripts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from manager import scheduler
from manager.records import Instance, Usage, User, Waiting
from manager.states import HOLDS_PORT
from manager.web.glance import given
from manager.web.house import Manager
from manager.web.idleness import held_cards

View = dict[str, Any]

UNHAPPY_ENDS = frozenset({"overdue", "died", "launch_failed", "hung"})

HOUR_MIN = 60
STEPS_MIN = ((10, 1), (60, 5), (240, 30))
"""Up to so many minutes an estimate is rounded to so many; beyond, to whole hours."""


def kept_from(manager: Manager, user: User | None) -> set[int]:
    """List the free ports that are kept for people in the line other than ``user``."""
    kept = given(manager.lifecycle)
    return {port for port, owner in kept.items() if user is None or owner != user.id}


def supply(manager: Manager) -> tuple[frozenset[int], frozenset[int]]:
    """List the ports that whoever may use them could start on now, and those that are reserved."""
    reserved = frozenset(manager.lifecycle.reservations.terms().reserved)
    closed = {*manager.lifecycle.unavailable, *kept_from(manager, None)}
    rows = manager.lifecycle.instances()
    free = (r.port for r in rows if r.state not in HOLDS_PORT and r.port not in closed)
    return frozenset(free), reserved


def availability(manager: Manager, user: User) -> View:
    """Say how many of the ports that a user may take are free."""
    instances = manager.lifecycle.instances()
    allowed = [i for i in instances if user.assigned_port in (None, i.port)]
    closed = manager.lifecycle.unavailable
    terms = manager.lifecycle.reservations.terms()
    open_to_him = [i for i in allowed if terms.allows(i.port, user.id)]
    unheld = [i for i in open_to_him if i.state not in HOLDS_PORT]
    served = [i for i in unheld if i.port not in closed]
    kept = kept_from(manager, user)
    return {
        "free": sum(1 for i in served if i.port not in kept),
        "total": len(allowed),
        "held_back": len(unheld) - len(served),
        "reserved": len(allowed) - len(open_to_him),
    }


BLOCKED = {"day": "day_used", "sessions": "no_sessions", "disk": "disk_full"}
"""The faces of who may not start by what he is allowed."""

MAINTENANCE = "maintenance"


def phase(
    instance: Instance | None,
    usage: Usage | None,
    cards: View,
    line: View | None,
    blocked: str | None,
) -> str:
    """Say which face the page shows: the instance's state, the line, or why there is neither."""
    if instance:
        return str(instance.state)
    if not cards["total"]:
        return "no_port"
    if blocked in BLOCKED:
        return BLOCKED[blocked]
    if line and line["missed_at"] is None:
        return "turn" if line["offer"] else "waiting"
    if blocked == MAINTENANCE:
        return MAINTENANCE
    if cards["free"] == 0:
        return _closed(cards) or "full"
    return "failed" if usage and usage.end_reason in UNHAPPY_ENDS else "idle"


def _closed(cards: View) -> str | None:
    """Say why a user can hope for none of his ports until an admin does something, if so."""
    if cards["reserved"] == cards["total"]:
        return "reserved"
    return "held_back" if cards["held_back"] + cards["reserved"] == cards["total"] else None


def line_view(manager: Manager, user: User) -> View | None:
    """Show a user how he stands in the line; None when he is not in it and never missed a turn."""
    settings = manager.settings
    common = {
        "automatic": settings.line_start == "automatic",
        "limit": settings.claim_timeout,
        "held": held_cards(manager, user),
    }
    line = manager.lifecycle.line.all()
    waits = next((one for one in line if one.user_id == user.id), None)
    if waits is None:
        before = manager.lifecycle.line.of_user(user.id)
        if before is None or before.missed_at is None:
            return None
        nothing = dict.fromkeys(("place", "total", "estimate", "no_estimate", "offer"))
        return {**common, **nothing, "missed_at": before.missed_at}
    place, total = scheduler.place(line, user.id)
    shown = {**common, "missed_at": None, "place": place, "total": total, "no_estimate": None}
    under = manager.lifecycle.maintenance.now() is not None
    # The watch takes an offer back a moment after maintenance has begun; nobody can take it then.
    if waits.offered_port is not None and not under:
        return {**shown, "estimate": None, "offer": _offer(manager, waits, waits.offered_port)}
    found = _estimate(manager, line, user.id)
    closed = MAINTENANCE if under else _closed(availability(manager, user))
    why = None if found else closed or "none"
    return {**shown, "estimate": found, "no_estimate": why, "offer": None}


def _offer(manager: Manager, waits: Waiting, port: int) -> View:
    known = {row.port: row.card for row in manager.settings.ports}
    seconds = math.ceil(manager.lifecycle.line.seconds_left(waits))
    return {"port": port, "card": known.get(port), "seconds": seconds}


def _estimate(manager: Manager, line: Sequence[Waiting], user_id: int) -> View | None:
    found = _estimates(manager, line).get(user_id)
    return None if found is None else rounded(*found)


def _estimates(manager: Manager, line: Sequence[Waiting]) -> Mapping[int, tuple[float, float]]:
    lifecycle = manager.lifecycle
    return scheduler.estimates(
        lifecycle.instances(),
        line,
        lifecycle.unavailable,
        lifecycle.line.lengths(),
        time.time(),
        lifecycle.reservations.terms(),
    )


def rounded(early: float, late: float) -> View:
    """Round an estimate in seconds outwards, the coarser the longer it is.

    Returns:
        ``low`` and ``high`` in minutes or hours, and ``form``: which sentence says it.
    """
    minutes = late / 60
    step = next((step for most, step in STEPS_MIN if minutes <= most), HOUR_MIN)
    low, high = math.floor(early / 60 / step) * step, max(1, math.ceil(minutes / step)) * step
    # Never a single number: that would sound like a promise.
    low = min(low, high - step)
    unit = "hours" if step == HOUR_MIN else "minutes"
    if unit == "hours":
        low, high = low // HOUR_MIN, high // HOUR_MIN
    return {"low": low, "high": high, "form": unit if low else f"up_to_{unit}"}


def whole_line_view(manager: Manager, line: Sequence[Waiting] | None = None) -> list[View]:
    """Show an admin who waits, the first first, each with how long it may take; None: not known.

    ``line`` is who waits, where that is known already.
    """
    line = manager.lifecycle.line.all() if line is None else line
    found = _estimates(manager, line) if line else {}
    return [
        {
            "user_id": one.user_id,
            "username": one.username,
            "assigned_port": one.assigned_port,
            "joined_at": one.joined_at,
            "offered_port": one.offered_port,
            "priority": one.priority,
            "estimate": rounded(*found[one.user_id]) if one.user_id in found else None,
        }
        for one in line
    ]
