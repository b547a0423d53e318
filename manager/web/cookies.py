"""The session's cookie: signed, good for as long as the database says, and taken only alone.

Flask's own checks the time of the signature too, and takes one that lies ahead for a forgery: a
server whose clock was set back would have everybody out. How long a login lasts is decided by its
row, so that the cookie's own age says nothing more.

Browsers keep cookies for a host, not for a port: a script in a workspace cannot read ours or write
over it, as it is HttpOnly, but can set another of the same name for a path or a domain. Which of
the two is meant, the browser does not say (RFC 6265, section 5.4); the other may be a login of
whoever wrote the script, in whose account the visitor would go on working. So neither is taken, and
the browser is told to forget those that are not ours.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask, Request, Response, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import BadSignature

from manager.errors import BadInput
from manager.web.signing import DIGEST


class Cookies(SecureCookieSessionInterface):
    """Flask's, without the age, and signed by HMAC-SHA256."""

    digest_method = DIGEST

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Read the session of a request; an empty one where there is none that we signed."""
        serializer = self.get_signing_serializer(app)
        if serializer is None:
            return None
        try:
            content: dict[str, Any] = serializer.loads(
                request.cookies.get(self.get_cookie_name(app), "")
            )
        except BadSignature:
            return self.session_class()
        return self.session_class(content)


def is_doubled(environ: Mapping[str, Any], name: str) -> bool:
    """Tell whether a request carries the cookie more than once."""
    pairs = str(environ.get("HTTP_COOKIE", "")).split(";")
    return sum(pair.partition("=")[0].strip() == name for pair in pairs) > 1


def init_app(app: Flask) -> None:
    """Refuse requests with a doubled session, and have the browser forget the other one."""
    name = str(app.config["SESSION_COOKIE_NAME"])

    @app.before_request
    def check() -> None:
        if is_doubled(request.environ, name):
            raise BadInput("the session's cookie came twice", reason="cookie_twice")

    @app.after_request
    def heal(response: Response) -> Response:
        if is_doubled(request.environ, name):
            # Else the page's new and empty session would take the place of the visitor's own.
            session.modified = False
            for path in _paths(request.path):
                for domain in (None, *_domains(request.host.rpartition(":")[0] or request.host)):
                    # Ours is the one for this host alone and all of its paths.
                    if path != "/" or domain is not None:
                        response.delete_cookie(name, path=path, domain=domain)
        return response


def _paths(path: str) -> Iterator[str]:
    """List what a cookie that came with a request may be for (RFC 6265, section 5.1.4)."""
    yield "/"
    parts = [part for part in path.split("/") if part][:8]
    for count in range(1, len(parts) + 1):
        yield "/" + "/".join(parts[:count])
        yield "/" + "/".join(parts[:count]) + "/"


def _domains(host: str) -> Iterator[str]:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        labels = host.split(".")[-8:]
        for count in range(len(labels)):
            yield ".".join(labels[count:])
