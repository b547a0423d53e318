"""What goes over the line to an OpenID Connect provider, within bounds, and its document.

Beside ``oidc``, for the doctor as well: he asks for the document and nothing else.
"""

from __future__ import annotations

import functools
import ssl
import time
from typing import Any, Final

from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]
from authlib.oidc.discovery import get_well_known_url  # type: ignore[import-untyped]
from joserfc.errors import JoseError
from requests import RequestException, Response
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from manager.setting_kinds import is_safe_address

WAITS_S: Final = (3.0, 5.0)
"""For connecting, and for each piece of an answer."""

WHOLE_S = 10.0
MOST_BYTES = 1 << 20

LEEWAY_S = 60
"""By how much the clocks of both may differ."""

ALGORITHMS: Final = tuple(
    f"{kind}{bits}" for kind in ("RS", "ES", "PS") for bits in (256, 384, 512)
)
"""Of signatures by a key that only the provider has; no «none», no secret that both have."""

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
NO_ANSWER = (RequestException, OSError)
"""What is raised where nothing usable comes."""

BAD_ANSWER = (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError, AttributeError)
"""What the libraries raise for what is not as it has to be."""


@functools.cache
def _trust() -> ssl.SSLContext:
    """Trust whom the system trusts, too: a house's own authority is made known there.

    Read once, as that takes some 50 ms during which nothing else runs.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context


class _Adapter(HTTPAdapter):
    """Speaks HTTPS with whom that trusts."""

    def init_poolmanager(self, *given: Any, **more: Any) -> None:  # noqa: ANN401 - handed on
        super().init_poolmanager(*given, **more, ssl_context=_trust())

    def cert_verify(self, conn: Any, *_given: Any) -> None:  # noqa: ANN401 - handed on
        """Leave it at that, where the library would read its own list once more."""
        conn.cert_reqs = "CERT_REQUIRED"


class Session(OAuth2Session):  # type: ignore[misc]
    """Asks within bounds, follows nothing, and takes nothing from the environment."""

    def __init__(self, *given: Any, **more: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(*given, **more)
        self.trust_env = False
        self.mount("https://", _Adapter())

    def request(self, *given: Any, **more: Any) -> Response:  # noqa: ANN401 - handed on
        """Ask, and give the whole answer, if it is neither too long nor too slow."""
        until = time.monotonic() + WHOLE_S
        bounds = {"timeout": WAITS_S, "allow_redirects": False, "stream": True}
        answer: Response = super().request(*given, **{**more, **bounds})
        with answer:
            content = b""
            for piece in answer.iter_content(1 << 14):
                content += piece
                if len(content) > MOST_BYTES or time.monotonic() > until:
                    raise RequestException("the answer is too long")
        # What has been read is what ``json`` reads.
        answer._content = content
        return answer


def document(issuer: str) -> tuple[dict[str, Any], str]:
    """Ask for the discovery document; give it, and what time the provider says it is."""
    with Session() as session:
        url = get_well_known_url(issuer, external=True)
        answer = session.request("GET", url, withhold_token=True)
    answer.raise_for_status()
    return answer.json(), answer.headers.get("Date", "")


def check(found: dict[str, Any], issuer: str) -> list[str]:
    """Look whether a document is as it has to be; give by which algorithms its owner signs.

    Raises:
        ValueError: says what is wrong; so do others of ``BAD_ANSWER``.
    """
    if found["issuer"] != issuer:
        raise ValueError(f"OIDC_ISSUER is {issuer}, its document says {found['issuer']}")
    for name in ENDPOINTS:
        if not is_safe_address(found[name].partition("?")[0]):
            raise ValueError(f"its {name} is no address of HTTPS")
    offered = found.get("id_token_signing_alg_values_supported") or ["RS256"]
    signed = [one for one in offered if one in ALGORITHMS]
    if not signed:
        raise ValueError("it signs by no key of its own")
    return signed


def said(error: Exception) -> str:
    """Say an error of a library in one line, without what the other end wrote at length."""
    return f"{type(error).__name__} {error}"[:300].encode("unicode_escape").decode("ascii")
