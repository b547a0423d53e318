"""Every route of the pages and the API, and what each kind of visitor gets of it.

The tests compare the table with the application: a route or method without a row here fails.
"""

from __future__ import annotations

from typing import Any

from manager.web import assets

LIMITS = {"priority": "low", "sessions_at_once": None, "day_limit": 0, "session_limit": None}
NEW_USER = {"username": "carl", "password": "a good password"}
NEW_TABLE = {"table": "username\ncarl\n", "dry_run": False}
TOLD = {"level": "notice", "text_en": "Hello", "until": None}

# Method, path, JSON body, then the status for nobody, a user, an admin, one who must change.
# Who was disabled or deleted while logged in is nobody.
ROUTES: list[tuple[str, str, Any, int, int, int, int]] = [
    ("GET", "/", None, 302, 200, 200, 302),
    ("GET", "/admin", None, 302, 403, 200, 302),
    ("GET", "/open", None, 302, 200, 200, 302),
    ("GET", "/login", None, 200, 302, 302, 302),
    ("GET", "/account", None, 302, 200, 200, 302),
    ("GET", "/login/code", None, 302, 302, 302, 302),
    ("POST", "/login/code", None, 302, 302, 302, 302),
    ("GET", "/account/second-factor", None, 302, 200, 200, 302),
    ("POST", "/account/second-factor/begin", None, 302, 401, 401, 302),
    ("POST", "/account/second-factor/cancel", None, 302, 302, 302, 302),
    ("POST", "/account/second-factor/confirm", None, 302, 404, 404, 302),
    ("POST", "/account/second-factor/codes", None, 302, 401, 401, 302),
    ("POST", "/account/second-factor/off", None, 302, 401, 401, 302),
    ("POST", "/account/end", None, 302, 404, 404, 302),
    ("POST", "/account/end-others", None, 302, 302, 302, 302),
    ("GET", "/account/tokens", None, 302, 302, 302, 302),
    ("POST", "/account/tokens", None, 302, 400, 400, 302),
    ("POST", "/account/tokens/revoke", None, 302, 400, 400, 302),
    ("GET", "/admin/tokens", None, 302, 403, 200, 302),
    ("POST", "/admin/tokens/revoke", None, 302, 403, 400, 302),
    ("GET", "/admin/sign-ins", None, 302, 403, 404, 302),
    ("POST", "/admin/sign-ins", None, 302, 403, 404, 302),
    ("GET", "/oidc/login", None, 404, 404, 404, 404),
    ("GET", "/oidc/callback", None, 404, 404, 404, 404),
    ("GET", "/password", None, 302, 200, 200, 200),
    ("GET", "/metrics", None, 401, 401, 401, 401),
    ("GET", "/healthz", None, 200, 200, 200, 200),
    ("GET", "/favicon.ico", None, 302, 302, 302, 302),
    ("GET", f"{assets.address()}/css/base.css", None, 200, 200, 200, 200),
    ("POST", "/language", None, 400, 400, 400, 400),
    ("POST", "/start", None, 302, 302, 302, 302),
    ("POST", "/stop", None, 302, 409, 409, 302),
    ("POST", "/line", None, 302, 302, 302, 302),
    ("POST", "/line/leave", None, 302, 302, 302, 302),
    ("POST", "/cancel-restart", None, 302, 302, 302, 302),
    ("POST", "/extend", None, 302, 409, 409, 302),
    ("POST", "/keep-awake", None, 302, 400, 400, 302),
    ("POST", "/keep-awake/end", None, 302, 409, 409, 302),
    ("POST", "/kept-prompts/send", None, 302, 404, 404, 302),
    ("POST", "/kept-prompts/drop", None, 302, 302, 302, 302),
    ("POST", "/logout", None, 302, 302, 302, 302),
    ("POST", "/password", None, 302, 401, 401, 401),
    ("GET", "/api/openapi.json", None, 401, 200, 200, 403),
    ("GET", "/api/user/state", None, 401, 200, 200, 403),
    ("GET", "/api/user/log", None, 401, 200, 200, 403),
    ("GET", "/api/user/log.txt", None, 401, 200, 200, 403),
    ("GET", "/api/user/disk", None, 401, 200, 200, 403),
    ("GET", "/api/user/usage", None, 401, 200, 200, 403),
    ("GET", "/api/user/outputs", None, 401, 200, 200, 403),
    ("GET", "/api/user/outputs/file?path=x.png", None, 401, 404, 404, 403),
    ("GET", "/api/user/outputs/thumbnail?path=x.png", None, 401, 404, 404, 403),
    ("GET", "/api/user/outputs/workflow?path=x.png", None, 401, 404, 404, 403),
    ("DELETE", "/api/user/outputs?path=x.png", None, 401, 404, 404, 403),
    (
        "POST",
        "/api/user/outputs/restore",
        {"path": "x.png", "trash": "1-0123456789abcdef"},
        401,
        404,
        404,
        403,
    ),
    ("POST", "/api/user/start", None, 401, 202, 202, 403),
    ("POST", "/api/user/stop", None, 401, 409, 409, 403),
    ("POST", "/api/user/line", None, 401, 202, 202, 403),
    ("DELETE", "/api/user/line", None, 401, 200, 200, 403),
    ("POST", "/api/user/line/take-back", None, 401, 404, 404, 403),
    ("POST", "/api/user/cancel-restart", None, 401, 200, 200, 403),
    ("POST", "/api/user/extend", None, 401, 409, 409, 403),
    ("POST", "/api/user/keep-awake", {"seconds": 3600}, 401, 202, 202, 403),
    ("DELETE", "/api/user/keep-awake", None, 401, 409, 409, 403),
    ("GET", "/api/user/kept-prompts", None, 401, 200, 200, 403),
    ("POST", "/api/user/kept-prompts/send", None, 401, 404, 404, 403),
    ("DELETE", "/api/user/kept-prompts", None, 401, 200, 200, 403),
    ("DELETE", "/api/admin/ports/8001/keep-awake", None, 401, 403, 200, 403),
    (
        "POST",
        "/api/user/password",
        {"old_password": "right password", "new_password": "another one"},
        401,
        200,
        200,
        200,
    ),
    ("GET", "/api/admin/overview", None, 401, 403, 200, 403),
    ("POST", "/api/admin/users", NEW_USER, 401, 403, 201, 403),
    ("PATCH", "/api/admin/users/3", {"is_active": False}, 401, 403, 200, 403),
    ("DELETE", "/api/admin/users/3", None, 401, 403, 200, 403),
    ("POST", "/api/admin/users/3/reset-password", None, 401, 403, 200, 403),
    ("DELETE", "/api/admin/users/3/second-factor", None, 401, 403, 409, 403),
    ("DELETE", "/api/admin/users/3/sessions", None, 401, 403, 200, 403),
    ("POST", "/api/admin/ports/8001/stop", None, 401, 403, 409, 403),
    ("POST", "/api/admin/ports/8001/release", None, 401, 403, 404, 403),
    ("DELETE", "/api/admin/line/2", None, 401, 403, 404, 403),
    ("PUT", "/api/admin/users/3/limits", LIMITS, 401, 403, 200, 403),
    ("PUT", "/api/admin/ports/8001/reservation", {"user_ids": []}, 401, 403, 200, 403),
    ("DELETE", "/api/admin/ports/8001/reservation", None, 401, 403, 404, 403),
    ("POST", "/api/admin/leftovers/lost/stop", None, 401, 403, 404, 403),
    ("POST", "/announcements/put-away", None, 302, 400, 400, 302),
    ("POST", "/api/user/announcements/7/put-away", None, 401, 404, 404, 403),
    ("POST", "/api/admin/announcements", TOLD, 401, 403, 201, 403),
    ("DELETE", "/api/admin/announcements/7", None, 401, 403, 404, 403),
    ("PUT", "/api/admin/maintenance", {"reason": "New fans"}, 401, 403, 200, 403),
    ("DELETE", "/api/admin/maintenance", None, 401, 403, 404, 403),
    ("GET", "/api/admin/people", None, 401, 403, 200, 403),
    ("PATCH", "/api/admin/people", {"user_ids": [3], "is_active": False}, 401, 403, 200, 403),
    ("PUT", "/api/admin/people/limits", {"user_ids": [3], **LIMITS}, 401, 403, 200, 403),
    ("POST", "/api/admin/people/table", NEW_TABLE, 401, 403, 200, 403),
    ("GET", "/api/admin/doctor", None, 401, 403, 200, 403),
    ("POST", "/api/admin/doctor", None, 401, 403, 202, 403),
    ("POST", "/admin/doctor", None, 302, 403, 302, 302),
    ("GET", "/api/admin/cards/history", None, 401, 403, 200, 403),
    ("GET", "/api/admin/cards/history.csv", None, 401, 403, 200, 403),
    ("GET", "/api/admin/usage", None, 401, 403, 200, 403),
    ("GET", "/api/admin/usage.csv", None, 401, 403, 200, 403),
    ("GET", "/wall", None, 302, 403, 200, 302),
    ("GET", "/charts", None, 302, 403, 200, 302),
    ("GET", "/charts.csv?of=held", None, 302, 403, 200, 302),
    ("GET", "/settings", None, 302, 403, 200, 302),
    ("GET", "/admin/audit", None, 302, 403, 200, 302),
    ("GET", "/admin/root-certificate", None, 302, 403, 404, 302),
    ("GET", "/api/admin/audit", None, 401, 403, 200, 403),
    ("GET", "/api/admin/audit/check", None, 401, 403, 200, 403),
    ("GET", "/api/admin/audit.csv", None, 401, 403, 200, 403),
    ("GET", "/api/admin/ports/8001/log", None, 401, 403, 200, 403),
    ("GET", "/api/admin/ports/8001/log.txt", None, 401, 403, 200, 403),
]
NO_TOKEN = {
    ("POST", "/api/user/password"),
    ("POST", "/api/admin/users/3/reset-password"),
    ("DELETE", "/api/admin/users/3/second-factor"),
}
"""What no token may do. All else under /api: its owner's GET with ``read``, his changes with
``use``, what admins alone may with ``admin``."""

VISITORS = (None, "ann", "admin", "new")
CHANGING = [(method, path) for method, path, *_ in ROUTES if method != "GET"]

KNOWN = {(method, path) for method, path, *_ in ROUTES} | {("POST", "/login")}
READING = [row for row in ROUTES if row[0] == "GET"]
JSON = [(method, path, body) for method, path, body, *_ in ROUTES if body is not None]
