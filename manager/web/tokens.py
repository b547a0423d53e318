"""API tokens on the pages: made and ended by their owners, seen and ended by admins.

Forms only: what makes or ends a token asks for a login in a browser, so that whoever has got hold
of one token makes no others of it. The page that follows the making is the only one that ever shows
it: until then, for a moment, it is kept for the browser that made it, and nowhere but in memory.
"""

from __future__ import annotations

import threading
import time

from flask import Blueprint, Flask, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from manager.errors import Refused
from manager.token_records import ApiToken
from manager.web import i18n
from manager.web.account import shown
from manager.web.bodies import Body, Line, Number, read_form
from manager.web.errors import status_of
from manager.web.guard import current_sid, current_user
from manager.web.services import services
from manager.web.token_views import all_view, token_view

account_tokens = Blueprint("account_tokens", __name__, url_prefix="/account/tokens")
admin_tokens = Blueprint("admin_tokens", __name__, url_prefix="/admin/tokens")


EXTENSION = "comfyui_manager_tokens"
KEPT_S = 120.0
"""For as long as a browser may take to follow a redirect."""


class NewToken(Body):
    """What a user wants of a token."""

    name: Line
    scope: Line
    days: Number
    password: str = ""


class TokenId(Body):
    """Which one."""

    token_id: Number


class JustMade:
    """Tokens on their way to the page that shows them, by login; each is given out once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._kept: dict[str, tuple[float, ApiToken, str]] = {}
        self._lock = threading.Lock()

    def put(self, session_id: str, made: ApiToken, token: str) -> None:
        """Keep one for a moment, and forget those that nobody came for."""
        now = time.monotonic()
        with self._lock:
            self._kept = {s: one for s, one in self._kept.items() if now - one[0] < KEPT_S}
            self._kept[session_id] = (now, made, token)

    def take(self, session_id: str) -> tuple[ApiToken, str] | None:
        """Give what was made by a login, once."""
        with self._lock:
            found = self._kept.pop(session_id, None)
        return found[1:] if found and time.monotonic() - found[0] < KEPT_S else None


def init_app(app: Flask) -> None:
    """Make the place where a new token waits for its page."""
    app.extensions[EXTENSION] = JustMade()


def just_made() -> JustMade:
    """Give that place in the application that answers."""
    found: JustMade = current_app.extensions[EXTENSION]
    return found


@account_tokens.get("")
def page() -> ResponseReturnValue:
    """Show the token that was just made, once; after that send to the account."""
    found = just_made().take(current_sid()) if request.method == "GET" else None
    if found is None:
        return redirect(url_for("account.page", _anchor="tokens"))
    made, token = found
    return shown(token=token, made=token_view(services().manager, made))


@account_tokens.post("")
def make() -> ResponseReturnValue:
    """Make a token and go to the page that shows it."""
    manager = services().manager
    try:
        wanted, user = read_form(NewToken), current_user()
        # A token outlives the login that makes it. Who has no password logs in at the provider.
        if manager.accounts.sign_ins.has_password(user):
            manager.accounts.confirm(user, wanted.password)
        made, token = manager.api_tokens.make(user, wanted.name, wanted.scope, wanted.days)
    except Refused as error:
        text = i18n.error_text(error, i18n.language())
        given = request.form.get("name", "")[:64]
        return shown(token_problem=text, token_name=given), status_of(type(error))
    just_made().put(current_sid(), made, token)
    return redirect(url_for("account_tokens.page"))


@account_tokens.post("/revoke")
def revoke() -> ResponseReturnValue:
    """End one of one's own."""
    services().manager.api_tokens.revoke(current_user(), read_form(TokenId).token_id)
    return redirect(url_for("account.page", _anchor="tokens"))


@admin_tokens.get("")
def everybodys() -> ResponseReturnValue:
    """Show everybody's."""
    return render_template("tokens.html", tokens=all_view(services().manager))


@admin_tokens.post("/revoke")
def revoke_any() -> ResponseReturnValue:
    """End anybody's."""
    services().manager.api_tokens.revoke(current_user(), read_form(TokenId).token_id)
    return redirect(url_for("admin_tokens.everybodys"))
