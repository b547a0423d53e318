"""The login through an OpenID Connect provider: there, and back with a session of our own.

What has to come back is kept in the browser's signed session, so that nobody can finish a login
that another browser has begun. Each is good once and for some minutes. A return that this browser
has not begun counts as no try: any page may send a visitor's browser here.
"""

from __future__ import annotations

import dataclasses
import hmac
import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import (
    Blueprint,
    Flask,
    current_app,
    g,
    redirect,
    render_template,
    request,
    session,
    url_for,
)
from flask.typing import ResponseReturnValue

from manager.errors import NotAuthenticated, NotFound, Refused, TooManyAttempts
from manager.settings import Settings
from manager.sign_in_records import Begun
from manager.web import i18n
from manager.web.errors import status_of
from manager.web.guard import own_origin
from manager.web.house import Manager
from manager.web.pages import own_path
from manager.web.services import services

if TYPE_CHECKING:
    from manager.oidc import Provider

logger = logging.getLogger(__name__)

oidc = Blueprint("oidc", __name__, url_prefix="/oidc")

EXTENSION = "comfyui_manager_oidc"
BEGUN_KEY: Final = "oidc"
BUTTON_KEY: Final = "oidc_button"
"""What the button of this browser's login page carries, so that no page elsewhere can press it: the
provider may know somebody already, and would send him back logged in without a word of his."""

BEGUN_S = 600.0
"""For how long a person may take at the provider."""


class Desk:
    """The provider, and which returns have been used up."""

    def __init__(self, provider: Provider) -> None:
        """Begin with none."""
        self.provider = provider
        self._spent: dict[str, float] = {}
        self._lock = threading.Lock()

    def spend(self, state: str) -> bool:
        """Use a return up; tell whether it was still good."""
        now = time.monotonic()
        with self._lock:
            self._spent = {one: at for one, at in self._spent.items() if now - at < BEGUN_S}
            is_first = state not in self._spent
            self._spent[state] = now
        return is_first


def init_app(app: Flask, manager: Manager) -> None:
    """Read what the provider takes, if one is set.

    Raises:
        SettingsError: its secret cannot be read.
    """
    if manager.settings.oidc_issuer:
        # Here, for what it imports is of no use to anybody else.
        from manager.oidc import Provider

        app.extensions[EXTENSION] = Desk(Provider(manager.settings))

    @app.context_processor
    def words() -> dict[str, object]:
        return {
            "sign_in_name": provider_name(manager.settings),
            "own_sign_in": own_sign_in,
            "sign_in_button": _button,
        }


def _button() -> str:
    """Give the address behind the button, for the browser whose page it is on."""
    if BUTTON_KEY not in session:
        session[BUTTON_KEY] = secrets.token_urlsafe(24)
    return url_for("oidc.begin", by=session[BUTTON_KEY])


def _by_button() -> bool:
    known, given = session.get(BUTTON_KEY, ""), request.args.get("by", "")
    return bool(known) and hmac.compare_digest(known.encode(), given.encode())


def provider_name(settings: Settings) -> str | None:
    """Give what the provider is called; None where there is none."""
    return (settings.oidc_name or i18n.t("sign_in.name")) if settings.oidc_issuer else None


def own_sign_in() -> dict[str, bool] | None:
    """Tell the user of a page whether he is tied to the provider, and whether he has a password.

    None where there is no provider or nobody is logged in.
    """
    manager: Manager = services().manager
    if g.get("user") is None or not manager.settings.oidc_issuer:
        return None
    sign_ins = manager.accounts.sign_ins
    return {
        "is_tied": sign_ins.tie_of(g.user).subject is not None,
        "has_password": sign_ins.has_password(g.user),
    }


def desk() -> Desk:
    """Give the provider of the application that answers.

    Raises:
        NotFound: the settings name none.
    """
    found: Desk | None = current_app.extensions.get(EXTENSION)
    if found is None:
        raise NotFound("there is no sign-in service")
    return found


@oidc.get("/login")
def begin() -> ResponseReturnValue:
    """Send a visitor to the provider, who has pressed the button of our own page."""
    provider, settings = desk().provider, services().manager.settings
    wanted = own_path(request.args.get("next", ""))
    if g.user:
        return redirect(wanted)
    here, ours = own_origin(settings, request.environ), _origin(settings)
    if not _by_button():
        return redirect(url_for("pages.login"))
    if here != ours:
        # The session's cookie has to be where the provider sends the visitor back to.
        return redirect(ours + url_for("pages.login"))
    try:
        url, begun = provider.begin(ours + url_for("oidc.callback"))
    except Refused as error:
        return _refused(error)
    kept = {**dataclasses.asdict(begun), "next": wanted, "until": time.time() + BEGUN_S}
    session[BEGUN_KEY] = kept
    return redirect(url)


@oidc.get("/callback")
def callback() -> ResponseReturnValue:
    """Take a visitor back from the provider, with a session if all is right."""
    desk()
    address = request.remote_addr or ""
    try:
        begun, wanted = _begun()
        services().manager.accounts.sign_in_tried(address)
        sid = _checked(begun, address)
    except Refused as error:
        logger.warning("sign-in refused from %s: %s", address, error)
        return _refused(error)
    services().begin_session(sid)
    # An account may be new, or an admin's no more; open pages are looked at again.
    services().live.accounts_changed()
    return redirect(wanted)


def _begun() -> tuple[Begun, str]:
    """Give what this browser has begun, once, and where it wants to go then.

    Raises:
        NotAuthenticated: it has begun nothing that this return would end.
    """
    kept, state = session.get(BEGUN_KEY), request.args.get("state", "")
    if not kept or kept["state"] != state:
        raise NotAuthenticated("this browser has not begun it", reason="sign_in_lost")
    del session[BEGUN_KEY]
    # A cookie can be sent once more, and a clock set back.
    is_late = not 0 < kept["until"] - time.time() <= BEGUN_S
    if not desk().spend(state) or is_late:
        raise NotAuthenticated("it is over", reason="sign_in_lost")
    return Begun(kept["state"], kept["nonce"], kept["verifier"]), own_path(kept["next"])


def _checked(begun: Begun, address: str) -> str:
    """Ask the provider who has come, and open a session for him; give its id."""
    settings = services().manager.settings
    # RFC 9207: an answer of another provider than the one that was asked.
    if request.args.get("iss", settings.oidc_issuer) != settings.oidc_issuer:
        raise NotAuthenticated("it comes from another provider", reason="sign_in")
    code = request.args.get("code", "")
    if request.args.get("error") or not code:
        raise NotAuthenticated("the provider has let nobody in", reason="sign_in_denied")
    back = _origin(settings) + url_for("oidc.callback")
    who = desk().provider.identity(code, back, begun)
    return services().manager.accounts.sign_ins.comes_in(who, address)[1]


def _origin(settings: Settings) -> str:
    """Give the origin to which the provider sends people back: EXTERNAL_IP's, if it is set.

    The port is the one that the browser uses, which may be a reverse proxy's.
    """
    here = own_origin(settings, request.environ)
    if not settings.external_ip:
        return here
    found = urlsplit(here)
    name = settings.external_ip.lower()
    name = f"[{name}]" if ":" in name else name
    _, colon, port = found.netloc.rpartition("]")[2].partition(":")
    return f"{found.scheme}://{name}{colon}{port}"


def _refused(error: Refused) -> ResponseReturnValue:
    """Show the login page again, with what is wrong; the password's form is on it, too."""
    name = provider_name(services().manager.settings)
    error.params.setdefault("name", name)
    text = i18n.error_text(error, i18n.language())
    wait = error.retry_after if isinstance(error, TooManyAttempts) else None
    page = render_template("login.html", problem=text, wait=wait)
    headers = {"Retry-After": str(wait)} if wait else {}
    return page, status_of(type(error)), headers
