"""The admins' page of who may come in through the provider. Forms only; complete without a script.

Nothing here is open to tokens: who opens an account to a person elsewhere gives it away.
"""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager.errors import BadInput
from manager.web.guard import current_user
from manager.web.oidc import desk
from manager.web.services import services

admin_sign_ins = Blueprint("admin_sign_ins", __name__, url_prefix="/admin/sign-ins")

MOST_DIGITS = 15
MOST_SOUGHT = 255
"""Letters that are looked for: as long as a subject may be."""


@admin_sign_ins.get("")
def page() -> ResponseReturnValue:
    """Show how each account stands to the provider."""
    desk()
    accounts, sought = services().manager.accounts, request.args.get("q", "")[:MOST_SOUGHT].strip()
    ties = accounts.sign_ins.ties()
    shown = [
        {"account": user, "tie": ties.get(user.id)}
        for user in accounts.users()
        if _is_sought(sought, user.username, getattr(ties.get(user.id), "subject", None))
    ]
    return render_template("sign_ins.html", people=shown, sought=sought)


def _is_sought(sought: str, *texts: str | None) -> bool:
    return any(sought.casefold() in (text or "").casefold() for text in texts)


@admin_sign_ins.post("")
def change() -> ResponseReturnValue:
    """Open the chosen accounts to the provider, close them, or forget whom they are tied to."""
    desk()
    house, act = services(), request.form.get("act", "")
    sign_ins, chosen = house.manager.accounts.sign_ins, _chosen()
    if act == "untie":
        sign_ins.untie(current_user(), chosen)
        house.live.accounts_changed()
    elif act in {"allow", "forbid"}:
        sign_ins.allow(current_user(), chosen, allowed=act == "allow")
    else:
        raise BadInput("there is no such act", reason="field", field="act")
    return redirect(url_for("admin_sign_ins.page"))


def _chosen() -> list[int]:
    given = request.form.getlist("user_id")
    # Fewer digits than Python refuses to read, and than SQLite keeps.
    if not all(one.isascii() and one.isdigit() and len(one) <= MOST_DIGITS for one in given):
        raise BadInput("that is no account", reason="field", field="user_id")
    return [int(one) for one in given]
