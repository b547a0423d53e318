"""Who may pass: checks before every request, and the headers of every answer.

A workspace is another port of the same host, so it is same-site: SameSite cookies protect nothing
from a script in it. Every change must therefore name our own origin, and carry a CSRF token.

A request to the API with a token (``Authorization: Bearer``) is its owner's by that alone: neither
cookie nor CSRF token is looked at. No browser sends that header by itself, and a page elsewhere may
set it only after a question (CORS) that is never answered here, so it cannot be forged through
somebody's browser. Where a browser names an origin after all, it must still be our own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from flask import Flask, Response, current_app, g, request, session
from flask_wtf.csrf import CSRFProtect  # type: ignore[import-untyped]

from manager.answer_headers import HEADERS
from manager.errors import (
    NotAuthenticated,
    NotPermitted,
    PasswordChangeRequired,
    SecondFactorRequired,
)
from manager.networks import within_or_unlimited
from manager.records import User
from manager.settings import Settings
from manager.token_records import Bearer
from manager.web.contract import contract_of
from manager.web.errors import wants_json
from manager.web.house import Manager

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SESSION_KEY = "sid"
HALF_WAY_KEY = "half_way"
"""Where the ticket is of who has given his password and not yet his code."""

ANYBODY = frozenset(
    {
        *("static", "pages.login", "second_factor.code", "pages.language", "pages.healthz"),
        *("pages.favicon", "metrics.show", "oidc.begin", "oidc.callback"),
    }
)
"""Endpoints for visitors who are not logged in."""

BEFORE_PASSWORD_CHANGE = ANYBODY | {"pages.password", "pages.logout", "api.password"}
"""Endpoints for accounts that must set their own password first."""

BEFORE_SECOND_FACTOR = BEFORE_PASSWORD_CHANGE | {
    "second_factor.page",
    "second_factor.begin",
    "second_factor.confirm",
    "second_factor.cancel",
}
"""Endpoints for admins who must set up a second factor first."""

ADMINS_ONLY = (
    "admin_api.",
    "admin_usage.",
    "admin_rules.",
    "admin_doctor.",
    "admin_cards.",
    "admin_audit.",
    "admin_charts.",
    "admin_settings.",
    "admin_notices.",
    "admin_people.",
    "admin_https.",
    "admin_tokens.",
    "admin_sign_ins.",
    "pages.admin",
    "pages.wall",
)


def own_origin(settings: Settings, environ: Mapping[str, Any]) -> str:
    """Give the origin this page has in the visitor's browser.

    The settings know where HTTPS stands in front, when the request itself looks like HTTP.
    """
    scheme = "https" if settings.https else environ.get("wsgi.url_scheme", "http")
    return f"{scheme}://{environ.get('HTTP_HOST', '')}"


def from_own_page(settings: Settings, environ: Mapping[str, Any]) -> bool:
    """Tell whether a request was sent by a page of ours, by what only browsers can set."""
    site = environ.get("HTTP_SEC_FETCH_SITE")
    if site is not None and site != "same-origin":
        return False
    return bool(environ.get("HTTP_ORIGIN") == own_origin(settings, environ))


def init_app(app: Flask, manager: Manager) -> None:
    """Put the checks before every request and the headers on every answer."""
    csrf = CSRFProtect()
    csrf.init_app(app)

    @app.before_request
    def check() -> None:
        g.user = g.bearer = None
        token = _token()
        if not _own_or_no_page(manager.settings, token):
            raise NotPermitted("this request does not come from our own page", reason="origin")
        if request.endpoint == "static":
            return
        if token is not None:
            g.bearer = _bearer(manager, token)
            g.user = g.bearer.user
        else:
            _by_cookie(manager)
        if request.endpoint is not None:
            _let_pass(request.endpoint, g.user, manager.settings.admin_networks)
            if token is not None:
                _let_token_pass(request.endpoint, g.bearer)
            elif request.method not in SAFE_METHODS:
                csrf.protect()

    app.after_request(_add_headers)


def _token() -> str | None:
    """Give the token of a request to the API; other pages know none."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if wants_json() and scheme.lower() == "bearer" else None


def _own_or_no_page(settings: Settings, token: str | None) -> bool:
    if request.method in SAFE_METHODS:
        return True
    no_browser = not {"HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE"} & request.environ.keys()
    return (token is not None and no_browser) or from_own_page(settings, request.environ)


def _bearer(manager: Manager, token: str) -> Bearer:
    """Say who sends a token, with his rights where he is: an admin's, or a user's elsewhere."""
    address = request.remote_addr or ""
    found = manager.api_tokens.find(token, address)
    owner = manager.accounts.at(found.user, address)
    # A token is led nowhere; an admin's without a second factor that is wanted is a user's.
    return replace(found, user=replace(owner, must_set_second_factor=False))


def _by_cookie(manager: Manager) -> None:
    if SESSION_KEY not in session:
        return
    g.user = manager.accounts.who(session[SESSION_KEY], request.remote_addr or "")
    if g.user is not None:
        manager.accounts.own.seen(session[SESSION_KEY], request.user_agent.string)


def _let_pass(endpoint: str, user: User | None, networks: Collection[str]) -> None:
    if user is None:
        if endpoint not in ANYBODY:
            raise NotAuthenticated("log in first", reason="login_first")
        return
    if user.must_change_password and endpoint not in BEFORE_PASSWORD_CHANGE:
        raise PasswordChangeRequired("set your own password first")
    if user.must_set_second_factor and endpoint not in BEFORE_SECOND_FACTOR:
        raise SecondFactorRequired("set up a second factor first")
    if endpoint.startswith(ADMINS_ONLY) and not user.is_admin:
        if within_or_unlimited(request.remote_addr, networks):
            raise NotPermitted("only admins may do this", reason="admins_only")
        raise NotPermitted("nobody is an admin at this address", reason="admins_elsewhere")


def _let_token_pass(endpoint: str, bearer: Bearer) -> None:
    told = contract_of(current_app.view_functions.get(endpoint))
    if told is None or not told.by_token:
        raise NotPermitted("no token may do this", reason="token_never")
    needed = scope_of(endpoint, request.method)
    if not bearer.may(needed):
        raise NotPermitted(f"this takes a token of scope {needed}", reason="scope", scope=needed)


def scope_of(endpoint: str, method: str) -> str:
    """Say which scope a token needs for an endpoint, if tokens may come by there at all."""
    if endpoint.startswith(ADMINS_ONLY):
        return "admin"
    return "read" if method in SAFE_METHODS else "use"


def _add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    kept = response.headers.get("Cache-Control", "").startswith("private")
    if request.endpoint != "static" and not kept:
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


def no_rights_by_token(changes_rights: bool) -> None:
    """Keep what a token can do within its own life: an admin it made would outlive it.

    Raises:
        NotPermitted: the request under way came by a token and is to change who is an admin.
    """
    if changes_rights and g.get("bearer") is not None:
        raise NotPermitted("no token changes who is an admin", reason="token_never")


def current_sid() -> str:
    """Give the id of the session under way; empty where there is none."""
    return str(session.get(SESSION_KEY, ""))
