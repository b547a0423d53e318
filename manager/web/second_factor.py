"""The second step of a login, and the page to set a second factor up and to take it off.

All of it works without a script. What is to be seen once is kept in memory for the browser that
made it, until its page comes for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import segno
from flask import (
    Blueprint,
    Flask,
    current_app,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue

from manager.errors import NotAuthenticated, Refused, TooManyAttempts
from manager.short_memory import ShortMemory
from manager.web import i18n
from manager.web.errors import status_of
from manager.web.guard import HALF_WAY_KEY, current_sid, current_user
from manager.web.house_second_factor import SecondFactors
from manager.web.services import services

second_factor = Blueprint("second_factor", __name__)

EXTENSION = "comfyui_manager_recovery_codes"
KEPT_S = 120.0
"""For as long as a browser may take to follow a redirect."""


def init_app(app: Flask) -> None:
    """Make the place where recovery codes wait for their page."""
    app.extensions[EXTENSION] = ShortMemory[Sequence[str]](KEPT_S)


def _just_made() -> ShortMemory[Sequence[str]]:
    found: ShortMemory[Sequence[str]] = current_app.extensions[EXTENSION]
    return found


def _factors() -> SecondFactors:
    return services().manager.accounts.second_factor


@second_factor.route("/login/code", methods=["GET", "POST"])
def code() -> ResponseReturnValue:
    """Ask who has given his password for a code, or check it; works without a script."""
    ticket = str(session.get(HALF_WAY_KEY, ""))
    if not ticket:
        return redirect(url_for("pages.login"))
    if request.method != "POST":
        return render_template("code.html") if _factors().is_half_way(ticket) else _too_late()
    try:
        found, sid = services().manager.accounts.login_by_code(
            ticket, request.form.get("code", ""), request.remote_addr or ""
        )
    except Refused as error:
        return _too_late() if _is_late(error) else _refused("code.html", error)
    services().begin_session(sid)
    return redirect(url_for("pages.password" if found.must_change_password else "pages.user"))


def _is_late(error: Refused) -> bool:
    return isinstance(error, NotAuthenticated) and error.reason == "code_late"


def _too_late() -> ResponseReturnValue:
    """Show the first step again, and say why."""
    session.pop(HALF_WAY_KEY, None)
    text = i18n.t("error.not_authenticated.code_late")
    return render_template("login.html", problem=text), status_of(NotAuthenticated)


def _refused(template: str, error: Refused, **more: object) -> ResponseReturnValue:
    text = i18n.error_text(error, i18n.language())
    wait = error.retry_after if isinstance(error, TooManyAttempts) else None
    page = render_template(template, problem=text, wait=wait, **more)
    headers = {"Retry-After": str(wait)} if wait else {}
    return page, status_of(type(error)), headers


@second_factor.get("/account/second-factor")
def page() -> ResponseReturnValue:
    """Show how it stands; the secret while it is set up, and recovery codes once."""
    codes = _just_made().take(current_sid()) if request.method == "GET" else None
    return render_template("second_factor.html", **_view(), codes=codes)


def _view() -> dict[str, object]:
    user = current_user()
    setup, status = _factors().setup(user, current_sid()), _factors().status(user)
    since, left = status or (None, 0)
    view: dict[str, object] = {"since": since, "left": left, "secret": None}
    if setup is not None:
        picture = segno.make(setup.uri, error="m", micro=False)
        view["secret"] = setup.secret
        view["uri"] = setup.uri
        # With its own ground and the quiet zone that the standard asks for: also on a dark page.
        view["picture"] = picture.svg_data_uri(scale=4, border=4, dark="#000", light="#fff")
    return view


@second_factor.post("/account/second-factor/begin")
def begin() -> ResponseReturnValue:
    """Make a secret, for who shows his password once more."""
    try:
        _factors().begin(current_user(), request.form.get("password", ""), current_sid())
    except Refused as error:
        return _refused("second_factor.html", error, **_view())
    return redirect(url_for("second_factor.page"))


@second_factor.post("/account/second-factor/cancel")
def cancel() -> ResponseReturnValue:
    """Leave it as it was."""
    _factors().cancel(current_sid())
    return redirect(url_for("account.page", _anchor="second-factor"))


@second_factor.post("/account/second-factor/confirm")
def confirm() -> ResponseReturnValue:
    """Put what was begun into force by a first code."""
    try:
        made = _factors().confirm(current_user(), request.form.get("code", ""), current_sid())
    except Refused as error:
        return _refused("second_factor.html", error, **_view())
    return _show_once(made)


def _show_once(made: Sequence[str]) -> ResponseReturnValue:
    services().renew_session()
    _just_made().put(current_sid(), made)
    return redirect(url_for("second_factor.page"))


@second_factor.post("/account/second-factor/codes")
def codes() -> ResponseReturnValue:
    """Give new recovery codes in the place of the old ones."""
    try:
        made = _factors().renew(current_user(), *_password_and_code())
    except Refused as error:
        return _refused("second_factor.html", error, **_view(), tried="codes")
    return _show_once(made)


@second_factor.post("/account/second-factor/off")
def off() -> ResponseReturnValue:
    """Take it off."""
    try:
        _factors().turn_off(current_user(), *_password_and_code())
    except Refused as error:
        return _refused("second_factor.html", error, **_view(), tried="off")
    services().renew_session()
    return redirect(url_for("account.page", _anchor="second-factor"))


def _password_and_code() -> tuple[str, str]:
    return request.form.get("password", ""), request.form.get("code", "")
