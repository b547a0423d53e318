"""Questions to an OpenID Connect provider: where to send people, and who has come back.

The flow is the authorization code's with PKCE, state and nonce (OpenID Connect Core 1.0, section
3.1; RFC 7636). Authlib makes and checks all of it: signature by the provider's keys, issuer,
audience, time, nonce. Imported only where a provider is set, for what it needs takes 12 MB.

Nothing waits here without bounds. An address is resolved beside the green loop by ``runtime``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from authlib.integrations.base_client import (  # type: ignore[import-untyped]
    BaseApp,
    OAuth2Mixin,
    OpenIDMixin,
)

from manager.errors import NotAuthenticated, SettingsError, Unavailable
from manager.oidc_line import (
    BAD_ANSWER,
    ENDPOINTS,
    LEEWAY_S,
    NO_ANSWER,
    WHOLE_S,
    Session,
    check,
    document,
    said,
)
from manager.settings import Settings
from manager.sign_in_records import Begun, Identity

logger = logging.getLogger(__name__)

T = TypeVar("T")

AT_ONCE = 4
KNOWN_S = 3600.0
"""How long the discovery document and the keys serve; unknown keys are asked for at once."""

FAILED_S = 5.0
"""How long a provider that did not answer is not asked again."""

MOST_SUBJECT = 255
"""Letters of a subject (OpenID Connect Core 1.0, section 2)."""


class _App(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]
    client_cls = Session


class Provider:
    """The provider that the settings name."""

    def __init__(self, settings: Settings) -> None:
        """Read the secret; the provider itself is asked when somebody needs it.

        Raises:
            SettingsError: the secret cannot be read.
        """
        self._settings = settings
        self._secret = _secret(settings)
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._app: _App | None = None
        self._ask_again_at = 0.0

    def begin(self, redirect_uri: str) -> tuple[str, Begun]:
        """Give the address to which somebody is sent, and what has to come back with him.

        Raises:
            Unavailable: the provider does not answer, or not as it has to.
        """
        begun = self._known().create_authorization_url(redirect_uri)
        return begun["url"], Begun(begun["state"], begun["nonce"], begun["code_verifier"])

    def identity(self, code: str, redirect_uri: str, begun: Begun) -> Identity:
        """Say who has come back with a code.

        Raises:
            Unavailable: the provider does not answer, or not as it has to.
            NotAuthenticated: what it says does not hold.
        """
        app = self._known()

        def ask() -> dict[str, Any]:
            token = app.fetch_access_token(
                redirect_uri=redirect_uri, code=code, code_verifier=begun.verifier
            )
            return self._claims(app, token, begun)

        with self._place():
            try:
                claims = self._bounded(ask)
            except BAD_ANSWER as error:
                logger.warning("the sign-in service's answer is refused: %s", said(error))
                raise NotAuthenticated("its answer does not hold", reason="sign_in") from error
        return self._identity(claims)

    def _claims(self, app: _App, token: dict[str, Any], begun: Begun) -> dict[str, Any]:
        options = {
            "iss": {"essential": True, "value": self._settings.oidc_issuer},
            "aud": {"essential": True, "value": self._settings.oidc_client_id},
            "sub": {"essential": True},
        }
        found = app.parse_id_token(token, begun.nonce, claims_options=options, leeway=LEEWAY_S)
        if found is None:
            raise ValueError("there is no id_token in it")
        return dict(found)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        settings, subject = self._settings, claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= MOST_SUBJECT:
            raise NotAuthenticated("its answer names nobody", reason="sign_in")
        name = claims.get(settings.oidc_username_claim)
        if settings.oidc_username_claim == "email" and claims.get("email_verified") is not True:
            # Anybody may write anybody's address where nobody looks.
            name = None
        is_admin = None
        if settings.oidc_admin_group:
            groups = claims.get(settings.oidc_groups_claim)
            is_admin = isinstance(groups, list) and settings.oidc_admin_group in groups
        username = name[:256] if isinstance(name, str) else ""
        return Identity(settings.oidc_issuer, subject, username, is_admin)

    def _known(self) -> _App:
        """Give what asks the provider, by its discovery document; that is asked for now and then.

        Raises:
            Unavailable: it cannot be had, or is not as it has to be.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._ask_again_at:
                if self._app is None:
                    raise _unavailable("it has just not answered")
                return self._app
            self._app = None
            try:
                with self._place():
                    self._app = self._bounded(self._discovered)
            except BAD_ANSWER as error:
                logger.warning("the sign-in service cannot be used: %s", said(error))
                raise _unavailable("its discovery document cannot be used") from error
            finally:
                waits = KNOWN_S if self._app else FAILED_S
                self._ask_again_at = time.monotonic() + waits
            return self._app

    def _discovered(self) -> _App:
        found, _date = document(self._settings.oidc_issuer)
        return self._made(found, check(found, self._settings.oidc_issuer))

    def _made(self, found: dict[str, Any], signed: list[str]) -> _App:
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        scope = "openid profile"
        if self._settings.oidc_username_claim == "email":
            scope += " email"
        return _App(
            None,
            client_id=self._settings.oidc_client_id,
            client_secret=self._secret,
            client_kwargs={
                "scope": scope,
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": "client_secret_post"
                if "client_secret_basic" not in methods and "client_secret_post" in methods
                else "client_secret_basic",
            },
            issuer=found["issuer"],
            id_token_signing_alg_values_supported=signed,
            **{name: found[name] for name in ENDPOINTS},
        )

    def _bounded(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except NO_ANSWER as error:
            logger.warning("the sign-in service does not answer: %s", type(error).__name__)
            raise _unavailable("no usable answer") from error

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Take one of the few places from which it is asked at the same time."""
        if not self._places.acquire(timeout=WHOLE_S):
            raise _unavailable("too many wait for it")
        try:
            yield
        finally:
            self._places.release()


def _unavailable(why: str) -> Unavailable:
    return Unavailable(f"the sign-in service does not answer: {why}", reason="sign_in")


def _secret(settings: Settings) -> str:
    path = settings.oidc_client_secret_file
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(f"OIDC_CLIENT_SECRET_FILE = {path} cannot be read: {why}") from error
    if not text or not text.isprintable():
        raise SettingsError(f"OIDC_CLIENT_SECRET_FILE = {path} has to hold one line: the secret")
    return text
