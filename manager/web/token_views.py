"""API tokens as the pages show them; never a token itself."""

from __future__ import annotations

import time
from typing import Any

from manager.records import User
from manager.token_records import SCOPES, ApiToken
from manager.web.house import Manager

DAYS_CHOSEN = 90
"""What is chosen at first, where it is offered."""

View = dict[str, Any]


def token_view(manager: Manager, token: ApiToken) -> View:
    """Show one; ``expired``: it opens nothing any more and is only still listed."""
    ends_at = manager.api_tokens.ends_at(token)
    return {**vars(token), "expires_at": ends_at, "expired": ends_at <= time.time()}


def own_view(manager: Manager, user: User) -> View:
    """Show a user his tokens and what he may choose for a new one."""
    choices = list(manager.api_tokens.choices())
    return {
        "all": [token_view(manager, one) for one in manager.api_tokens.of_user(user)],
        "days": choices,
        "days_chosen": DAYS_CHOSEN if DAYS_CHOSEN in choices else choices[-1] if choices else None,
        "by_password": manager.accounts.sign_ins.has_password(user),
        "scopes": [one for one in SCOPES if one != "admin" or user.is_admin],
    }


def all_view(manager: Manager) -> list[View]:
    """Show admins everybody's, the newest first."""
    return [token_view(manager, one) for one in manager.api_tokens.all()]
