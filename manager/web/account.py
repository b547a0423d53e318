"""The page of one's own account: password, second factor, language, and where one is logged in."""

from __future__ import annotations

import dataclasses

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager.web.agents import describe
from manager.web.guard import current_sid, current_user
from manager.web.pages import logged_out
from manager.web.services import services
from manager.web.token_views import own_view

account = Blueprint("account", __name__, url_prefix="/account")


@account.get("")
def page() -> ResponseReturnValue:
    """Show the account; works without a script."""
    return shown()


def shown(**more: object) -> str:
    """Render the page, with ``more`` for its template."""
    house, user = services(), current_user()
    logins = house.manager.accounts.own.list(user, current_sid())
    factor = house.manager.accounts.second_factor.status(user)
    told = [{**dataclasses.asdict(one), "browser": describe(one.user_agent)} for one in logins]
    return render_template(
        "account.html",
        logins=told,
        tokens=own_view(house.manager, user),
        recovery_codes=factor[1] if factor else 0,
        **more,
    )


@account.post("/end")
def end() -> ResponseReturnValue:
    """End one login; who ends this very one is logged out."""
    house, user = services(), current_user()
    handle = request.form.get("handle", "")
    this = any(
        one.is_this and one.handle == handle
        for one in house.manager.accounts.own.list(user, current_sid())
    )
    house.manager.accounts.own.end(user, handle)
    house.live.accounts_changed()
    if this:
        return logged_out()
    return redirect(url_for("account.page"))


@account.post("/end-others")
def end_others() -> ResponseReturnValue:
    """Sign out everywhere else."""
    services().manager.accounts.own.end_others(current_user(), current_sid())
    services().live.accounts_changed()
    return redirect(url_for("account.page"))
