"""From errors to answers: the only place that knows HTTP numbers.

Every refusal leaves in one shape, ``{"error": {"code", "key", "message"}}`` under ``/api``, with
``field`` where one is to blame, and as a page elsewhere. A fault says nothing of itself but an id
that stands in the log beside it.
"""

from __future__ import annotations

import logging
import secrets

from flask import Flask, g, jsonify, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError  # type: ignore[import-untyped]
from werkzeug.exceptions import HTTPException, InternalServerError

from manager import errors
from manager.web import i18n, refusals

logger = logging.getLogger(__name__)

STATUS: dict[type[errors.ManagerError], int] = {
    errors.BadInput: 400,
    errors.NotAuthenticated: 401,
    errors.PasswordChangeRequired: 403,
    errors.SecondFactorRequired: 403,
    errors.NotPermitted: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.NoFreeCard: 409,
    errors.LimitReached: 409,
    errors.AlreadyRunning: 409,
    errors.NotRunning: 409,
    errors.TooManyAttempts: 429,
    errors.Unavailable: 503,
    errors.Refused: 400,
    errors.ManagerError: 500,
}
"""Numbers by class; a class that is not here takes its nearest ancestor's."""

NOT_AUTHENTICATED = 401

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def status_of(kind: type[errors.ManagerError]) -> int:
    """Give the HTTP number for a class of errors."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def init_app(app: Flask) -> None:
    """Register the handlers."""
    app.register_error_handler(errors.ManagerError, _on_manager_error)
    app.register_error_handler(CSRFError, _on_csrf)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(InternalServerError, _on_crash)


def wants_json() -> bool:
    """Tell whether the one who asks is a script."""
    return request.path.startswith("/api/")


def answer(
    code: str, message: str, status: int, *, key: str = "", detail: str = "", field: object = None
) -> ResponseReturnValue:
    """Give a refusal in the shape the asker reads."""
    if wants_json():
        told = {"code": code, "key": key or code, "message": message}
        return jsonify({"error": told | ({"field": field} if field else {})}), status
    page = render_template("error.html", status=status, message=message, detail=detail)
    return page, status


def _on_manager_error(error: errors.ManagerError) -> ResponseReturnValue:
    status = status_of(type(error))
    if not isinstance(error, errors.Refused):
        return _fault(error.code, error, status)
    refusals.note_error(error)
    if not wants_json():
        if isinstance(error, errors.NotAuthenticated):
            return redirect(url_for("pages.login"))
        if isinstance(error, errors.PasswordChangeRequired):
            return redirect(url_for("pages.password"))
        if isinstance(error, errors.SecondFactorRequired):
            return redirect(url_for("second_factor.page"))
    text = i18n.error_text(error, i18n.language())
    field = error.params.get("field")
    response = make_response(answer(error.code, text, status, key=error.key, field=field))
    if status == NOT_AUTHENTICATED and wants_json():
        # What a script may show instead (RFC 9110, section 11.6.1); no browser asks for it.
        response.headers["WWW-Authenticate"] = 'Bearer realm="comfyui-manager"'
    if isinstance(error, errors.TooManyAttempts):
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _on_csrf(error: CSRFError) -> ResponseReturnValue:
    refusals.note("form token")
    return answer("csrf", i18n.t("error.csrf"), 400, key="csrf")


def _on_http(error: HTTPException) -> ResponseReturnValue:
    number = error.code or 500
    if number < 400:
        return error.get_response()
    code = _HTTP_CODES.get(number, "bad_input" if number < 500 else "fault")
    return answer(code, i18n.t(f"error.{code}"), number)


def _on_crash(error: InternalServerError) -> ResponseReturnValue:
    return _fault("fault", error.original_exception or error, 500)


def _fault(code: str, error: BaseException, status: int) -> ResponseReturnValue:
    number = secrets.token_hex(4)
    user = g.get("user")
    logger.error(
        "fault %s for user %s at %s %s: %s",
        number,
        user.id if user else None,
        request.method,
        # No visitor ends a line of the log and writes one of his own.
        repr(request.path)[1:-1],
        error,
        exc_info=error,
    )
    text = i18n.t("error.fault_with_id", id=number)
    if code == errors.StoreFailed.code:
        # With a full disk the number may stand in no log: what is wrong is said here.
        text = f"{i18n.t('error.store_failed')} ({number})"
    return answer(code, text, status)
