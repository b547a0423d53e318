"""What pages show of the idle verdict, what a user may ask for against it, and kept prompts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from manager.records import Instance, Unfinished, Usage, User
from manager.states import State
from manager.web.house import Manager, Reading

View = dict[str, Any]

AWAKE_CHOICES_S = (1800, 3600, 7200, 14_400, 28_800, 86_400)
"""What is offered for an announcement, as far as it may be."""


def verdict_view(manager: Manager, instance: Instance, reading: Reading | None) -> View:
    """Show what holds an instance and how long is left, as admins may see it too."""
    known = reading if instance.state is State.RUNNING else None
    awake = manager.lifecycle.grants.awake_until(instance.launch_id or "") if known else None
    return {
        # Never longer than it was, and never less left than there is.
        "idle_seconds": int(reading.idle_seconds) if reading else None,
        "idle_left": _whole(known.idle_left) if known else None,
        "idle_timeout": manager.settings.idle_timeout,
        "idle_by": known.idle_by if known else "",
        "idle_warns": bool(known and known.idle_warns),
        "idle_unknown": list(known.idle_unknown) if known else [],
        "awake_until": awake,
    }


def asked_view(manager: Manager, instance: Instance) -> View:
    """Show a user what he may ask for: one more extension, and an announcement of work."""
    if instance.state is not State.RUNNING:
        return {"extend": None, "awake": None}
    grants = manager.lifecycle.grants
    seconds, left, waits = grants.extension(instance)
    extend = {"seconds": int(seconds), "left": left if seconds else 0, "waits": waits}
    most = grants.awake_left(instance.launch_id or "")
    choices = [one for one in AWAKE_CHOICES_S if one <= most]
    if not choices and most >= 60:
        choices = [int(most // 60) * 60]
    return {
        "extend": extend if manager.settings.extend_by else None,
        "awake": {"choices": choices} if manager.settings.keep_awake_max else None,
    }


def extend(manager: Manager, user: User) -> None:
    """Let a user's session go on for some more minutes.

    Raises:
        NotRunning, Conflict: see ``Grants.extend``.
    """
    instance = manager.lifecycle.of_user(user.id)
    reading = manager.watch.reading(instance.port) if instance else None
    manager.lifecycle.grants.extend(user, reading.idle_left if reading else None)


def kept_view(manager: Manager, user: User) -> View | None:
    """Show what is kept of a user's earlier queues, and how the last sending went."""
    return _kept(manager.lifecycle.unfinished.of_user(user.id))


def _kept(rows: Sequence[Unfinished]) -> View | None:
    if not rows:
        return None
    states = {one.state for one in rows}
    sent = sum(one.sent for one in rows)
    accepted, refused = (sum(n) for n in zip(*((o.accepted, o.refused) for o in rows), strict=True))
    return {
        "state": next(one for one in ("sending", "offered", "sent") if one in states),
        "waiting": sum(one.prompts - one.sent for one in rows),
        "left_out": sum(one.left_out for one in rows),
        "saved_at": rows[-1].saved_at,
        "sent": sent,
        "accepted": accepted,
        "refused": refused,
        "lost": sent - accepted - refused if "sending" not in states else 0,
        "refusal": next((one.refusal for one in rows if one.refusal), None),
    }


def evidence_view(usage: Usage) -> View | None:
    """Show what an end for idleness rested on."""
    return json.loads(usage.evidence) if usage.evidence else None


def held_cards(manager: Manager, user: User) -> list[View]:
    """List the cards that a user waits for and that are kept for announced work, and until when."""
    cards = {row.port: row.card for row in manager.settings.ports}
    grants = manager.lifecycle.grants
    running = [
        one
        for one in manager.lifecycle.instances()
        if one.state is State.RUNNING and user.assigned_port in (None, one.port)
    ]
    found = [(cards.get(one.port), grants.awake_until(one.launch_id or "")) for one in running]
    return [{"card": card, "until": until} for card, until in found if until is not None]


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else math.ceil(seconds)
