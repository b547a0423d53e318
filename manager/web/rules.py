"""Limits and reservations as the pages show them."""

from __future__ import annotations

import math
import time
from typing import Any

from manager.permits import Reservation, UserLimits
from manager.records import Instance, User
from manager.web.house import Manager

View = dict[str, Any]

MIB = 1 << 20
SOON_S = 900
"""So long before the end of a session's time its user is warned."""


def disk_total(manager: Manager, user: User) -> int | None:
    """Say how many bytes a user's folders take; None where that was not told yet."""
    known = manager.disk.of_user(user.id)
    return known.total if known else None


def disk_view(manager: Manager, user: User) -> View:
    """Show what a user's folders take and may take, in bytes; a limit of 0 is none."""
    limit = manager.lifecycle.limits.of_user(user.id).disk_limit * MIB
    return {"disk_total": disk_total(manager, user), "disk_limit": limit}


def all_limits_view(manager: Manager) -> list[View]:
    """Show what each user is allowed: set for him (None: nothing is) and in force, in seconds."""
    limits = manager.lifecycle.limits
    own = limits.all()
    return [
        {
            **vars(own.get(user.id, UserLimits(user.id))),
            "in_force": vars(limits.of_user(user.id)),
        }
        for user in manager.accounts.users()
    ]


def reservations_view(manager: Manager) -> list[View]:
    """Show an admin what is reserved, for whom, by whom and why."""
    reserved = manager.lifecycle.reservations.all()
    names = {user.id: user.username for user in manager.accounts.users()} if reserved else {}
    return [
        {
            "port": one.port,
            "user_ids": sorted(one.user_ids),
            "usernames": sorted(names[user] for user in one.user_ids if user in names),
            "until": one.until,
            "reserved_by": one.reserved_by,
            "reserved_at": one.reserved_at,
            "reason": one.reason,
        }
        for one in reserved
    ]


def time_view(manager: Manager, row: Instance) -> View | None:
    """Show how long an instance may still go on, in whole seconds; None without a limit."""
    left = manager.lifecycle.limits.time(row) if row.user_id is not None else None
    if left is None:
        return None
    return {
        "seconds": math.ceil(left.seconds),
        "limit": left.limit,
        "soon": left.seconds <= SOON_S,
        "over": left.over,
        "open_for": None if left.open_for is None else math.ceil(left.open_for),
        "shut": left.shut,
    }


def own_limits_view(manager: Manager, user: User, instance: Instance | None) -> View:
    """Show a user what he is allowed, and why he may not start, if so."""
    limits = manager.lifecycle.limits
    allowed = limits.of_user(user.id)
    blocked = None if instance else limits.blocked(user.id)
    again = blocked.again_at if blocked else None
    return {
        "day_limit": allowed.day_limit,
        "session_limit": allowed.session_limit,
        "used_today": int(limits.used_today(user.id)) if allowed.day_limit else None,
        "blocked": blocked.reason if blocked else None,
        "disk_limit": allowed.disk_limit * MIB,
        "disk_used": disk_total(manager, user),
        "again_at": again,
        "again_in": None if again is None else max(0, math.ceil(again - time.time())),
    }


def reservation_view(manager: Manager, user: User, instance: Instance | None) -> View | None:
    """Show a user the reservation that concerns him; None where there is none.

    ``kind`` is ``after`` (others get the card that he has now), ``mine`` (it is kept for him),
    ``others`` or ``nobody`` (his own port is not for him), or ``all`` (every port is not).
    """
    reserved = {one.port: one for one in manager.lifecycle.reservations.all()}
    if instance is not None:
        found = reserved.get(instance.port)
        # To him it is as if there were none.
        return _told(manager, "after", found) if found and user.id not in found.user_ids else None
    if user.assigned_port is not None:
        found = reserved.get(user.assigned_port)
        return _told(manager, _kind(found, user), found) if found else None
    mine = next((one for one in reserved.values() if user.id in one.user_ids), None)
    if mine is not None:
        return _told(manager, "mine", mine)
    if not all(row.port in reserved for row in manager.settings.ports):
        return None
    first = min(reserved.values(), key=lambda one: math.inf if one.until is None else one.until)
    return {**_told(manager, "all", first), "reason": ""}


def _kind(found: Reservation, user: User) -> str:
    if user.id in found.user_ids:
        return "mine"
    return "others" if found.user_ids else "nobody"


def _told(manager: Manager, kind: str, found: Reservation) -> View:
    cards = {row.port: row.card for row in manager.settings.ports}
    return {
        "kind": kind,
        "card": cards.get(found.port),
        "until": found.until,
        "reason": found.reason,
    }
