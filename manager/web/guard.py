"""Who may pass: checks before every request, and the headers of every answer.

A workspace is another port of the same host, so it is same-site: SameSite cookies protect nothing
from a script in it. Every change must therefore name our own origin, and carry a CSRF token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, g, request, session

from manager.errors import NotAuthenticated, NotPermitted, PasswordChangeRequired
from manager.records import User
from manager.settings import Settings
from manager.web.house import Manager

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SESSION_KEY = "sid"

ANYBODY = frozenset({"static", "pages.login", "pages.language", "pages.healthz", "pages.favicon"})
"""Endpoints for visitors who are not logged in."""

BEFORE_PASSWORD_CHANGE = ANYBODY | {"pages.password", "pages.logout", "api.password"}
"""Endpoints for accounts that must set their own password first."""

ADMINS_ONLY = ("admin_api.", "pages.admin")

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "object-src 'none'",
    )
)

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: under that policy browsers send "Origin: null" with a form's POST
    # (Fetch standard, "append a request Origin header"), and the login form must name its origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def own_origin(settings: Settings, environ: Mapping[str, Any]) -> str:
    """Give the origin this page has in the visitor's browser.

    ``COOKIE_SECURE`` says that HTTPS stands in front, where the request itself looks like HTTP.
    """
    scheme = "https" if settings.cookie_secure else environ.get("wsgi.url_scheme", "http")
    return f"{scheme}://{environ.get('HTTP_HOST', '')}"


def from_own_page(settings: Settings, environ: Mapping[str, Any]) -> bool:
    """Tell whether a request was sent by a page of ours, by what only browsers can set."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None and site != "same-origin":
        return False
    return bool(environ.get("HTTP_ORIGIN") == own_origin(settings, environ))


def init_app(app: Flask, manager: Manager) -> None:
    """Put the checks before every request and the headers on every answer."""

    @app.before_request
    def check() -> None:
        g.user = None
        if request.method not in SAFE_METHODS and not from_own_page(
            manager.settings, request.environ
        ):
            raise NotPermitted("this request does not come from our own page", reason="origin")
        if request.endpoint == "static":
            return
        g.user = manager.accounts.who(session[SESSION_KEY]) if SESSION_KEY in session else None
        if request.endpoint is not None:
            _let_pass(request.endpoint, g.user)

    app.after_request(_add_headers)


def _let_pass(endpoint: str, user: User | None) -> None:
    if user is None:
        if endpoint not in ANYBODY:
            raise NotAuthenticated("log in first", reason="login_first")
        return
    if user.must_change_password and endpoint not in BEFORE_PASSWORD_CHANGE:
        raise PasswordChangeRequired("set your own password first")
    if endpoint.startswith(ADMINS_ONLY) and not user.is_admin:
        raise NotPermitted("only admins may do this", reason="admins_only")


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response


def current_user() -> User:
    """Give who is asking.

    Raises:
        NotAuthenticated: nobody is logged in.
    """
    user: User | None = g.get("user")
    if user is None:
        raise NotAuthenticated("log in first", reason="login_first")
    return user


def current_sid() -> str:
    """Give the id of the session under way; empty where there is none."""
    return str(session.get(SESSION_KEY, ""))
