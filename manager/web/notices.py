"""What is said to everybody, on every page: announcements, and that nothing is started.

Only who is logged in sees it. A login page is read by anybody who reaches the port, and these
texts speak of people, rooms and times; whoever logs in reads them a moment later.
"""

from __future__ import annotations

from typing import Any

from manager.notices import LEVELS, Announcement
from manager.records import User
from manager.states import HOLDS_PORT
from manager.web.house import Manager

View = dict[str, Any]


def announcement_view(one: Announcement) -> View:
    """Show an announcement to its readers."""
    return {
        "id": one.id,
        "level": one.level,
        "text": {"en": one.text_en, "zh": one.text_zh},
        "until": one.until,
        "can_put_away": one.level == LEVELS[0],
    }


def notices_view(manager: Manager, user: User) -> View:
    """Show a user what everybody is told, but for what he has put away."""
    one = manager.lifecycle.maintenance.now()
    return {
        "maintenance": {"reason": one.reason, "until": one.until} if one else None,
        "announcements": [announcement_view(a) for a in manager.announcements.of_user(user.id)],
    }


def service_view(manager: Manager) -> View:
    """Show admins what everybody is told, by whom, and how far the house has run empty.

    ``left`` counts instances and launches without a row, ``at_work`` those seen with work.
    """
    one = manager.lifecycle.maintenance.now()
    held = [row for row in manager.lifecycle.instances() if row.state in HOLDS_PORT]
    readings = [manager.watch.reading(row.port) for row in held]
    return {
        "maintenance": vars(one) if one else None,
        "left": len(held) + len(manager.lifecycle.leftovers.all()),
        "at_work": sum(bool(seen and (seen.running or seen.pending)) for seen in readings),
        "announcements": [
            {**announcement_view(a), "made_by": a.made_by, "made_at": a.made_at}
            for a in manager.announcements.all()
        ],
    }
