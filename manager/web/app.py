"""The Flask application, made by a factory; importing this starts nothing."""

from __future__ import annotations

import datetime as dt

from flask import Flask, g
from werkzeug.routing import IntegerConverter, Map

from manager.settings import ROOT
from manager.states import State
from manager.web import (
    assets,
    bodies,
    cookies,
    disk,
    errors,
    guard,
    i18n,
    metrics,
    notices_api,
    oidc,
    outputs,
    people_api,
    refusals,
    request_id,
    second_factor,
    tokens,
)
from manager.web.account import account
from manager.web.admin_api import admin_api
from manager.web.api import api
from manager.web.audit import admin_audit
from manager.web.card_history import admin_cards
from manager.web.charts import admin_charts
from manager.web.doctor import EXTENSION as DOCTOR
from manager.web.doctor import Doctor, admin_doctor
from manager.web.house import Manager
from manager.web.https import admin_https
from manager.web.idle_api import idle_api, idle_forms
from manager.web.live import Live
from manager.web.openapi import openapi
from manager.web.pages import pages
from manager.web.rules_api import admin_rules
from manager.web.services import EXTENSION, Services
from manager.web.settings_page import admin_settings
from manager.web.sign_ins import admin_sign_ins
from manager.web.usage import admin_usage, user_usage
from manager.web.views import Revision

COOKIE_NAME = "comfyui_manager_session"
MAX_BODY_BYTES = 64 * 1024
BLUEPRINTS = (
    pages,
    account,
    second_factor.second_factor,
    api,
    admin_api,
    admin_rules,
    user_usage,
    admin_usage,
    admin_doctor,
    admin_cards,
    admin_audit,
    admin_charts,
    admin_https,
    admin_settings,
    tokens.account_tokens,
    tokens.admin_tokens,
    oidc.oidc,
    admin_sign_ins,
    idle_api,
    idle_forms,
    outputs.outputs,
    disk.user_disk,
    notices_api.user_notices,
    notices_api.admin_notices,
    people_api.admin_people,
    openapi,
)


def create_app(manager: Manager) -> Flask:
    """Build the application around a built manager."""
    app = Flask(
        "comfyui_manager",
        root_path=str(ROOT),
        template_folder=str(ROOT / "templates"),
        static_folder=str(assets.FOLDER),
        static_url_path=assets.address(),
    )
    _configure(app, manager)
    revision = Revision()
    app.extensions[EXTENSION] = Services(manager, revision, Live(manager, revision))
    app.extensions[DOCTOR] = Doctor()
    assets.init_app(app)
    request_id.init_app(app)
    cookies.init_app(app)
    guard.init_app(app, manager)
    errors.init_app(app)
    refusals.init_app(app)
    add_routes(app)
    metrics.init_app(app, manager)
    outputs.init_app(app, manager)
    disk.init_app(app)
    notices_api.init_app(app, manager)
    tokens.init_app(app)
    second_factor.init_app(app)
    oidc.init_app(app, manager)
    _teach_templates(app, manager)
    return app


class Numbers(IntegerConverter):
    """Numbers in addresses that SQLite can keep; there is nothing at larger ones."""

    def __init__(self, url_map: Map) -> None:
        """Set the limit."""
        super().__init__(url_map, max=bodies.LARGEST)


def add_routes(app: Flask) -> None:
    """Give an application all routes, also one without rooms, for what is said about them."""
    app.url_map.converters["int"] = Numbers
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)


def _configure(app: Flask, manager: Manager) -> None:
    settings = manager.settings
    app.session_interface = cookies.Cookies()
    app.config.update(
        SECRET_KEY=manager.secret_key,
        SESSION_COOKIE_NAME=COOKIE_NAME,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.https,
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=dt.timedelta(hours=settings.session_hours),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES,
        # A token lives as long as its session: a page may stay open for days. The Referer check
        # is replaced by the guard's stricter one of Origin.
        WTF_CSRF_TIME_LIMIT=None,
        # The guard asks for it, as it knows who comes by a token.
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_SSL_STRICT=False,
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.json.sort_keys = False  # type: ignore[attr-defined]


def _teach_templates(app: Flask, manager: Manager) -> None:
    @app.context_processor
    def words() -> dict[str, object]:
        chosen = i18n.language()
        return {
            "t": i18n.t,
            "language": chosen,
            "html_lang": i18n.HTML_LANG[chosen],
            "languages": i18n.LANGUAGES,
            "sentences": lambda *starts: i18n.sentences(chosen, *starts),
            "user": g.get("user"),
            "settings_in_force": manager.settings,
            "states": [str(state) for state in State],
        }

    app.add_template_filter(clock, "clock")
    app.add_template_filter(iso, "iso")
    app.add_template_filter(utc, "utc")
    app.add_template_filter(duration, "duration")


def clock(seconds: float | None) -> str:
    """Write a number of seconds as ``9:58`` or ``1:02:03``; the page's scripts do the same."""
    if seconds is None:
        return "–"
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def duration(seconds: float) -> str:
    """Write how long something lasted, in minutes or hours; the page's scripts do the same."""
    whole = max(0, int(seconds))
    if whole < 60:
        return i18n.t("common.seconds", count=whole)
    if whole < 3600:
        return i18n.t("common.minutes", count=whole // 60)
    tenths = whole // 360
    return i18n.t("common.hours", count=f"{tenths // 10}.{tenths % 10}")


def iso(epoch: float) -> str:
    """Write a time for a ``datetime`` attribute, which the page's scripts read."""
    return dt.datetime.fromtimestamp(epoch, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(epoch: float) -> str:
    """Write a time for people, until the page's scripts put it into their own zone."""
    return dt.datetime.fromtimestamp(epoch, dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
