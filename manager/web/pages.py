"""The pages: login, the user's, the admins', the change of password, the language switch."""

from __future__ import annotations

from flask import Blueprint, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from manager import __version__
from manager.errors import BadInput, NotAuthenticated, Refused, TooManyAttempts
from manager.web import i18n, views
from manager.web.errors import status_of
from manager.web.guard import SESSION_KEY, current_sid, current_user
from manager.web.isolation import isolation_view
from manager.web.services import services

pages = Blueprint("pages", __name__)

LANGUAGE_COOKIE_S = 365 * 24 * 3600


@pages.get("/")
def user() -> ResponseReturnValue:
    """Show the user's own page, complete without a script."""
    house = services()
    address = views.Address.of(request.environ)
    state = views.user_state(house.manager, current_user(), address, house.revision.next())
    return render_template("user.html", state=state)


@pages.post("/start")
def start() -> ResponseReturnValue:
    """Begin an instance for a page without a script."""
    services().start(current_user())
    return redirect(url_for("pages.user"))


@pages.post("/stop")
def stop() -> ResponseReturnValue:
    """Begin the end of the user's instance for a page without a script."""
    services().stop(current_user())
    return redirect(url_for("pages.user"))


@pages.post("/cancel-restart")
def cancel_restart() -> ResponseReturnValue:
    """Leave a crashed instance ended, for a page without a script."""
    services().manager.lifecycle.cancel_restart(current_user().id)
    return redirect(url_for("pages.user"))


@pages.get("/admin")
def admin() -> ResponseReturnValue:
    """Show the admins' page."""
    house = services()
    return render_template(
        "admin.html",
        overview=house.live.snapshot(),
        settings=views.settings_view(house.manager.settings),
        nodes=[isolation_view(node) for node in house.manager.lifecycle.nodes()],
    )


@pages.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Show the login form, or check it; works without a script."""
    if request.method == "GET":
        return redirect(url_for("pages.user")) if g.user else render_template("login.html")
    username, password = request.form.get("username", ""), request.form.get("password", "")
    try:
        found, sid = services().manager.accounts.login(
            username, password, request.remote_addr or ""
        )
    except Refused as error:
        return _login_refused(error, username)
    services().end_session(current_sid())
    # A new session, also for the CSRF token: whatever the browser held before is worth nothing.
    session.clear()
    session[SESSION_KEY] = sid
    session.permanent = True
    return redirect(url_for("pages.password" if found.must_change_password else "pages.user"))


def _login_refused(error: Refused, username: str) -> ResponseReturnValue:
    text = i18n.error_text(error, i18n.language())
    if isinstance(error, BadInput | NotAuthenticated):
        # One sentence for an unknown name, a wrong password and a disabled account.
        text = i18n.t("login.refused")
    wait = error.retry_after if isinstance(error, TooManyAttempts) else None
    page = render_template("login.html", problem=text, wait=wait, username=username[:64])
    headers = {"Retry-After": str(wait)} if wait else {}
    return page, status_of(type(error)), headers


@pages.post("/logout")
def logout() -> ResponseReturnValue:
    """End the session here and its live connections."""
    services().end_session(current_sid())
    session.clear()
    return redirect(url_for("pages.login"))


@pages.route("/password", methods=["GET", "POST"])
def password() -> ResponseReturnValue:
    """Show the form for a new password, or take it; works without a script."""
    asking = current_user()
    if request.method == "GET":
        return render_template("password.html")
    try:
        if request.form.get("new_password") != request.form.get("repeat_password"):
            raise BadInput("the two new passwords differ", reason="repeat")
        services().change_password(
            asking, request.form.get("old_password", ""), request.form.get("new_password", "")
        )
    except Refused as error:
        text = i18n.error_text(error, i18n.language())
        return render_template("password.html", problem=text), status_of(type(error))
    return redirect(url_for("pages.user"))


@pages.post("/language")
def language() -> ResponseReturnValue:
    """Remember the chosen language and go back."""
    chosen = request.form.get("language", "")
    if chosen not in i18n.LANGUAGES:
        raise BadInput("there is no such language", reason="language")
    response = redirect(_own_path(request.form.get("next", "")))
    response.set_cookie(
        i18n.COOKIE,
        chosen,
        max_age=LANGUAGE_COOKIE_S,
        httponly=True,
        samesite="Lax",
        secure=services().manager.settings.cookie_secure,
    )
    return response


def _own_path(wanted: str) -> str:
    """Keep a redirect on this site: the path of one of our own pages, or the start."""
    return wanted if wanted in {"/", "/admin", "/login", "/password"} else "/"


@pages.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Say that the manager answers; asked by the start script."""
    demo = services().manager.settings.demo
    return {"status": "ok", "version": __version__, "demo": demo}


@pages.get("/favicon.ico")
def favicon() -> ResponseReturnValue:
    """Send browsers that ask for the old name to the drawing."""
    return redirect(url_for("static", filename="favicon.svg"))
