"""The Flask application, made by a factory; importing this starts nothing."""

from __future__ import annotations

import datetime as dt

from flask import Flask, g
from flask_wtf.csrf import CSRFProtect  # type: ignore[import-untyped]

from manager.settings import ROOT
from manager.states import State
from manager.web import errors, guard, i18n
from manager.web.admin_api import admin_api
from manager.web.api import api
from manager.web.house import Manager
from manager.web.live import Live
from manager.web.pages import pages
from manager.web.services import EXTENSION, Services
from manager.web.views import Revision

COOKIE_NAME = "comfyui_manager_session"
MAX_BODY_BYTES = 64 * 1024


def create_app(manager: Manager) -> Flask:
    """Build the application around a built manager."""
    app = Flask(
        "comfyui_manager",
        root_path=str(ROOT),
        template_folder=str(ROOT / "templates"),
        static_folder=str(ROOT / "static"),
    )
    _configure(app, manager)
    revision = Revision()
    app.extensions[EXTENSION] = Services(manager, revision, Live(manager, revision))
    guard.init_app(app, manager)
    CSRFProtect(app)
    errors.init_app(app)
    for blueprint in (pages, api, admin_api):
        app.register_blueprint(blueprint)
    _teach_templates(app, manager)
    return app


def _configure(app: Flask, manager: Manager) -> None:
    settings = manager.settings
    app.config.update(
        SECRET_KEY=manager.secret_key,
        SESSION_COOKIE_NAME=COOKIE_NAME,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.cookie_secure,
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=dt.timedelta(hours=settings.session_hours),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_BODY_BYTES,
        # A token lives as long as its session: a page may stay open for days. The Referer check
        # is replaced by the guard's stricter one of Origin.
        WTF_CSRF_TIME_LIMIT=None,
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


def clock(seconds: float | None) -> str:
    """Write a number of seconds as ``9:58`` or ``1:02:03``; the page's scripts do the same."""
    if seconds is None:
        return "–"
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def iso(epoch: float) -> str:
    """Write a time for a ``datetime`` attribute, which the page's scripts read."""
    return dt.datetime.fromtimestamp(epoch, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(epoch: float) -> str:
    """Write a time for people, until the page's scripts put it into their own zone."""
    return dt.datetime.fromtimestamp(epoch, dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
