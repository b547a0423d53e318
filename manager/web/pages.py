"""The pages: login, the user's, the admins', the change of password, the language switch."""

from __future__ import annotations

from flask import Blueprint, g, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from manager import __version__
from manager.errors import (
    BadInput,
    CodeRequired,
    NoFreeCard,
    NotAuthenticated,
    Refused,
    TooManyAttempts,
)
from manager.web import bodies, i18n, standing, usage, views
from manager.web.behind import named_addresses
from manager.web.cluster import machines_view
from manager.web.doctor import doctor_view
from manager.web.errors import status_of
from manager.web.guard import current_sid, current_user
from manager.web.https import https_view
from manager.web.people_view import people_view
from manager.web.services import services

pages = Blueprint("pages", __name__)

WORTH_WAITING = frozenset(
    {"all", "all_reserved", "assigned", "line", "maintenance", "reserved", "unavailable"}
)
"""Why there was no card for a start, where waiting in line may help."""

LANGUAGE_COOKIE_S = 365 * 24 * 3600


@pages.get("/")
def user() -> ResponseReturnValue:
    """Show the user's own page, complete without a script."""
    house = services()
    address = views.Address.of(request.environ)
    state = views.user_state(house.manager, current_user(), address, house.revision.next())
    use = usage.own_view(house.manager, current_user())
    return render_template("user.html", state=state, use=use)


@pages.get("/open")
def open_when_ready() -> ResponseReturnValue:
    """Show a page that waits for the user's start and then goes to the workspace by itself.

    It is opened beside the user's own page, by a click there and without a tie to it. The address
    of the workspace stands in it as in that page; nothing redirects there, and no log sees it.
    """
    house = services()
    address = views.Address.of(request.environ)
    state = views.user_state(house.manager, current_user(), address, house.revision.next())
    return render_template("open.html", state=state)


@pages.post("/start")
def start() -> ResponseReturnValue:
    """Begin an instance for a page without a script."""
    try:
        services().start(current_user())
    except NoFreeCard as error:
        if error.reason not in WORTH_WAITING:
            raise
        # The page says that all is taken, and offers the line.
    return redirect(url_for("pages.user"))


@pages.post("/line")
def join_line() -> ResponseReturnValue:
    """Put the user into the waiting line, for a page without a script."""
    services().manager.lifecycle.line.join(current_user())
    return redirect(url_for("pages.user"))


@pages.post("/line/leave")
def leave_line() -> ResponseReturnValue:
    """Take the user out of the line, for a page without a script."""
    user = current_user()
    services().manager.lifecycle.line.leave(user.id, by=user)
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
    house, period = services(), bodies.read_query(usage.UsageQuery)
    return render_template(
        "admin.html",
        overview=house.live.snapshot(),
        nodes=machines_view(house.manager),
        use=usage.admin_view(house.manager, period.period, period.by),
        people=people_view(house.manager),
        doctor=doctor_view(),
        first_password=house.manager.accounts.first_admin.is_known(),
        https=https_view(house.manager.settings),
    )


@pages.get("/wall")
def wall() -> ResponseReturnValue:
    """Show the cards for a screen on a wall; for admins, as names on it are people's."""
    overview = services().live.snapshot()
    return render_template(
        "wall.html", overview=overview, columns=standing.columns(len(overview["ports"]))
    )


@pages.route("/login", methods=["GET", "POST"])
def login() -> ResponseReturnValue:
    """Show the login form, or check it; works without a script."""
    # Not «GET»: a HEAD, which anybody's page may have sent, is no try.
    if request.method != "POST":
        return redirect(url_for("pages.user")) if g.user else render_template("login.html")
    username, password = request.form.get("username", ""), request.form.get("password", "")
    try:
        found, sid = services().manager.accounts.login(
            username, password, request.remote_addr or "", *named_addresses(request.environ)
        )
    except CodeRequired as error:
        services().go_half_way(error.ticket)
        return redirect(url_for("second_factor.code"))
    except Refused as error:
        return _login_refused(error, username)
    services().begin_session(sid)
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
    if request.method != "POST":
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
    response = redirect(own_path(request.form.get("next", "")))
    response.set_cookie(
        i18n.COOKIE,
        chosen,
        max_age=LANGUAGE_COOKIE_S,
        httponly=True,
        samesite="Lax",
        secure=services().manager.settings.https,
    )
    return response


OWN_PAGES = frozenset(
    {
        *("/", "/account", "/account/tokens", "/admin", "/admin/audit", "/admin/tokens"),
        *("/account/second-factor", "/charts", "/login", "/login/code", "/open", "/password"),
        *("/admin/sign-ins", "/settings", "/wall"),
    }
)


def own_path(wanted: str) -> str:
    """Keep a redirect on this site: the path of one of our own pages, or the start."""
    return wanted if wanted in OWN_PAGES else "/"


@pages.get("/healthz")
def healthz() -> ResponseReturnValue:
    """Say that the manager answers; asked by the start script."""
    demo = services().manager.settings.demo
    return {"status": "ok", "version": __version__, "demo": demo}


@pages.get("/favicon.ico")
def favicon() -> ResponseReturnValue:
    """Send browsers that ask for the old name to the drawing."""
    return redirect(url_for("static", filename="favicon.svg"))
