"""What the admins' page shows of each user beside the account itself."""

from __future__ import annotations

from typing import Any

from manager import days
from manager.web.house import Manager

View = dict[str, Any]

HOURS_OF_DAYS = 30
"""Over how many days, today included, the page says how long somebody had cards."""


def people_view(manager: Manager) -> list[View]:
    """Show when each user logged in last, and how long he had cards lately, in whole seconds."""
    logins = manager.accounts.people.last_logins()
    since = days.earlier(manager.lifecycle.book.today(), HOURS_OF_DAYS - 1)
    totals = manager.lifecycle.book.totals("user", since)
    held = {total.key: int(total.held_seconds) for total in totals}
    return [
        {
            "user_id": user.id,
            "last_login_at": logins.get(user.id),
            "held_seconds": held.get(user.username, 0),
        }
        for user in manager.accounts.users()
    ]
