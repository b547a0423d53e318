"""What browsers keep is signed by HMAC-SHA256: the session's cookie, and the form token in it.

Both libraries take SHA-1 by themselves: Flask by a setting of its class, Flask-WTF by a name in its
module, which ``init_app`` gives another meaning. There is no way for what SHA-1 has signed: a login
of before ends, and the page asks for a new one.
"""

from __future__ import annotations

import hashlib
from typing import Any

import flask_wtf.csrf  # type: ignore[import-untyped]
from itsdangerous import URLSafeTimedSerializer

DIGEST = staticmethod(hashlib.sha256)


class Sha256Serializer(URLSafeTimedSerializer):
    """As its name says; with the arguments that Flask-WTF gives."""

    def __init__(self, secret_key: Any, salt: str) -> None:  # noqa: ANN401 - text or bytes
        """Bind to a key."""
        super().__init__(secret_key, salt=salt, signer_kwargs={"digest_method": hashlib.sha256})


def init_app() -> None:
    """Have form tokens signed so."""
    flask_wtf.csrf.URLSafeTimedSerializer = Sha256Serializer
