"""An OpenID Connect provider in a process of its own, on loopback, with real keys.

It does what the specification asks of one and checks what a client has to send: secret, redirect
URI, PKCE, each code once. What it is told by ``/control`` it does wrong instead, see ``Provider``.

    python -m tests.support.oidc_provider PORT [CERT KEY]
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import requests
from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.ports import free_ports
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENT_ID, CLIENT_SECRET = "comfyui-manager", "a secret of the client: ~%+ &"
READY_S = 60.0
HELD_S = 120.0
Claims = dict[str, Any]


class House:
    """What the provider knows. ``wrong`` names what it does wrong; see ``TOKENS``."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.person: Claims = {"sub": "1", "preferred_username": "ann"}
        self.wrong = ""
        self.asks = False
        self.codes: dict[str, dict[str, str]] = {}
        self.served: dict[str, int] = {}
        self.go_on = threading.Event()
        self.new_keys()
        self.foreign = RSAKey.generate_key(2048, {"kid": "foreign"})

    def new_keys(self) -> None:
        """Take another key for all that is signed from now on, as providers do now and then."""
        self.key = RSAKey.generate_key(2048, {"kid": secrets.token_hex(4), "use": "sig"})

    def document(self) -> Claims:
        """Give the discovery document."""
        base = self.issuer
        issuer = f"{base}/other" if self.wrong == "document_issuer" else base
        found = {
            "issuer": issuer,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "jwks_uri": f"{base}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }
        if self.wrong == "plain_endpoint":
            found["token_endpoint"] = "http://provider.example/token"
        if self.wrong == "offers_weak":
            found["id_token_signing_alg_values_supported"] = ["none", "HS256"]
        return found

    def id_token(self, given: dict[str, str], access_token: str) -> str:
        """Sign who somebody is, or do it wrong."""
        now = int(time.time())
        digest = hashlib.sha256(access_token.encode()).digest()[:16]
        claims: Claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": given["nonce"],
            "at_hash": _text(digest),
            **json.loads(given["person"]),
        }
        change = TOKENS.get(self.wrong)
        if change:
            change(claims)
        if self.wrong == "unsigned":
            return f"{_part({'alg': 'none'})}.{_part(claims)}."
        if self.wrong in {"by_secret", "by_public_key"}:
            # What both know, or everybody: the signing library itself would refuse to do this.
            public = self.key.as_pem(private=False)
            known = CLIENT_SECRET.encode() if self.wrong == "by_secret" else public
            said = f"{_part({'alg': 'HS256', 'kid': self.key.kid})}.{_part(claims)}"
            return f"{said}.{_text(hmac.digest(known, said.encode(), 'sha256'))}"
        if self.wrong == "foreign_key":
            # With the name of the key that is trusted.
            return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.foreign)
        token = jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)
        if self.wrong == "changed":
            head, _, signature = token.split(".")
            return f"{head}.{_part({**claims, 'sub': 'root'})}.{signature}"
        return token


def _part(content: Claims) -> str:
    return _text(json.dumps(content).encode())


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


TOKENS: dict[str, Callable[[Claims], object]] = {
    "nonce": lambda claims: claims.update(nonce="another"),
    "no_nonce": lambda claims: claims.pop("nonce"),
    "audience": lambda claims: claims.update(aud="another-client"),
    "audience_with_our_party": lambda claims: claims.update(aud=["another"], azp=CLIENT_ID),
    "party": lambda claims: claims.update(aud=[CLIENT_ID, "another"], azp="another"),
    "no_audience": lambda claims: claims.pop("aud"),
    "expired": lambda claims: claims.update(exp=int(time.time()) - 3600),
    "no_expiry": lambda claims: claims.pop("exp"),
    "not_yet": lambda claims: claims.update(nbf=int(time.time()) + 3600),
    "issuer": lambda claims: claims.update(iss="https://provider.example"),
    "no_issuer": lambda claims: claims.pop("iss"),
    "access_token": lambda claims: claims.update(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "no_subject": lambda claims: claims.pop("sub"),
    "empty_subject": lambda claims: claims.update(sub=""),
    "long_subject": lambda claims: claims.update(sub="x" * 256),
    "number_as_subject": lambda claims: claims.update(sub=7),
}
BAD_TOKENS = (
    *TOKENS,
    *("unsigned", "by_secret", "by_public_key", "foreign_key", "changed"),
    *("no_id_token", "not_json"),
)
BAD_DOCUMENTS = ("document_issuer", "plain_endpoint", "offers_weak", "document_text")


class Handler(BaseHTTPRequestHandler):
    """One request."""

    house: House

    def do_GET(self) -> None:
        """Answer a browser or the client."""
        path, query = self._asked()
        house = self.house
        if path == "/.well-known/openid-configuration":
            if house.wrong == "document_text":
                return self._say(200, b"<html>a proxy's page</html>", "text/html")
            return self._json(house.document())
        if path == "/keys":
            return self._json({"keys": [house.key.as_dict(private=False)]})
        if path == "/authorize":
            return self._authorize(query)
        if path == "/control":
            return self._json({"served": house.served})
        return self._say(204 if path == "/favicon.ico" else 404, b"")

    def do_POST(self) -> None:
        """Answer the client, or do as told."""
        path, _ = self._asked()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if path == "/control":
            told = json.loads(body)
            if told.pop("new_keys", False):
                self.house.new_keys()
            if told.pop("go_on", False):
                self.house.go_on.set()
            vars(self.house).update(told)
            return self._json({})
        if path == "/token":
            return self._token({name: many[0] for name, many in parse_qs(body.decode()).items()})
        return self._say(404, b"")

    def _asked(self) -> tuple[str, dict[str, str]]:
        found = urlsplit(self.path)
        served = self.house.served
        served[found.path] = served.get(found.path, 0) + 1
        return found.path, {name: many[0] for name, many in parse_qs(found.query).items()}

    def _authorize(self, query: dict[str, str]) -> None:
        house = self.house
        wanted = {"response_type": "code", "client_id": CLIENT_ID, "code_challenge_method": "S256"}
        if any(query.get(name) != value for name, value in wanted.items()):
            return self._say(400, b"not what a client sends")
        if house.asks and "yes" not in query:
            name = html.escape(str(house.person["preferred_username"]))
            link = html.escape(f"{self.path}&yes=1")
            page = f'<title>Provider</title><h1>Provider</h1><a href="{link}">Go on as {name}</a>'
            return self._say(200, page.encode(), "text/html; charset=utf-8")
        if house.wrong == "denies":
            return self._send_back(query, {"error": "access_denied"})
        code = secrets.token_urlsafe(16)
        house.codes[code] = {**query, "person": json.dumps(house.person)}
        return self._send_back(query, {"code": code, "iss": house.issuer})

    def _send_back(self, query: dict[str, str], more: dict[str, str]) -> None:
        self.send_response(302)
        given = urlencode({"state": query["state"], **more})
        self.send_header("Location", f"{query['redirect_uri']}?{given}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _token(self, form: dict[str, str]) -> None:
        house = self.house
        if house.wrong == "silent":
            house.go_on.wait(HELD_S)
        if house.wrong == "broken":
            return self._say(500, b"")
        given = house.codes.pop(form.get("code", ""), None)
        if not self._is_client() or given is None or not _fits(given, form):
            return self._json({"error": "invalid_grant"}, 400)
        if house.wrong == "not_json":
            return self._say(200, b"[1, 2]", "application/json")
        access_token = secrets.token_urlsafe(16)
        answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": 300}
        if house.wrong != "no_id_token":
            answer["id_token"] = house.id_token(given, access_token)
        return self._json(answer)

    def _is_client(self) -> bool:
        kind, _, shown = self.headers.get("Authorization", "").partition(" ")
        if kind != "Basic":
            return False
        name, _, secret = base64.b64decode(shown).decode().partition(":")
        # RFC 6749, section 2.3.1, has both encoded; not every client does that.
        return name == CLIENT_ID and CLIENT_SECRET in {secret, unquote(secret)}

    def _json(self, content: Claims, status: int = 200) -> None:
        self._say(status, json.dumps(content).encode(), "application/json")

    def _say(self, status: int, content: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_given: object) -> None:
        """Log nothing."""


def _fits(given: dict[str, str], form: dict[str, str]) -> bool:
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    challenge = _text(digest)
    return (
        form.get("grant_type") == "authorization_code"
        and form.get("redirect_uri") == given["redirect_uri"]
        and challenge == given["code_challenge"]
    )


def main(port: int, cert: str = "", key: str = "") -> None:
    """Serve until killed."""
    scheme = "https" if cert else "http"
    Handler.house = House(f"{scheme}://127.0.0.1:{port}")
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


class Provider:
    """The process, as a test holds it."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        """Choose a port."""
        self.port = free_ports(1)[0]
        self._tls = tls
        self.issuer = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(tls[0]) if tls else True

    def start(self) -> Provider:
        """Start it and wait until it answers; also again after its end."""
        words = [sys.executable, "-m", "tests.support.oidc_provider", str(self.port)]
        self._process = subprocess.Popen([*words, *map(str, self._tls or ())], cwd=ROOT)
        wait_until(self._answers, READY_S, "the provider answers")
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None
        try:
            return self._session.get(f"{self.issuer}/control", timeout=5).ok
        except requests.RequestException:
            return False

    def told(self, **what: Any) -> None:
        """Tell it what to do: ``wrong``, ``person``, ``asks``, ``new_keys``, ``go_on``."""
        answer = self._session.post(f"{self.issuer}/control", json=what, timeout=30)
        answer.raise_for_status()

    def served(self, path: str) -> int:
        """Say how often a path was asked for."""
        found = self._session.get(f"{self.issuer}/control", timeout=30).json()["served"]
        return int(found.get(path, 0))

    def settings(self, folder: Path) -> dict[str, str]:
        """Give a manager's settings for it, with the secret's file in ``folder``."""
        path = folder / "client_secret"
        path.write_text(f"{CLIENT_SECRET}\n", encoding="utf-8")
        path.chmod(0o600)
        return {
            "OIDC_ISSUER": self.issuer,
            "OIDC_CLIENT_ID": CLIENT_ID,
            "OIDC_CLIENT_SECRET_FILE": str(path),
        }

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Provider:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self._session.close()
        self.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
