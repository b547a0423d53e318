"""What a certificate says, and whether it goes with its key. Knows no setting and keeps nothing.

The standard library reads a certificate's contents only for the other side of a connection. So the
pair is tried as it will be used: a handshake in memory, in which it is trusted for being itself
(https://docs.python.org/3/library/ssl.html#memory-bio-support).
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manager.errors import GateFailed

STEPS = 8
"""Turns of a handshake; one of TLS 1.3 takes three."""

NOT_YET, EXPIRED = 9, 10
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's verify(1)."""


@dataclass(frozen=True)
class Certificate:
    """Whom it is for, its end in UTC epoch seconds, and the SHA-256 of it, in hexadecimal."""

    names: tuple[str, ...]
    expires_at: float
    fingerprint: str


def read_pair(cert: Path, key: Path) -> Certificate:
    """Read a certificate that is good now and goes with its key.

    Raises:
        GateFailed: it does not, or one of them cannot be read; says which and why.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        client.load_verify_locations(cadata=_text("TLS_CERT", cert))
    except ssl.SSLError:
        raise GateFailed(f"TLS_CERT = {cert} holds no certificate in PEM form") from None
    _text("TLS_KEY", key)
    try:
        server.load_cert_chain(cert, key, password=_refuse_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise GateFailed(
                f"TLS_KEY = {key} is not the key of the first certificate in TLS_CERT = {cert}"
            ) from None
        raise GateFailed(f"TLS_KEY = {key} holds no key that can be used ({error})") from None
    try:
        return _handshake(client, server)
    except ssl.SSLCertVerificationError as error:
        raise GateFailed(f"TLS_CERT = {cert} {_refusal(error)}") from None
    except ssl.SSLError as error:
        raise GateFailed(f"TLS_CERT = {cert} cannot be used: {error}") from None


def read_root(path: Path) -> Certificate | None:
    """Read an authority's own certificate; None where there is none that can be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
        return _certificate(context.get_ca_certs()[0], context.get_ca_certs(binary_form=True)[0])
    except (OSError, IndexError, ValueError):
        return None


def read_leaf(path: Path) -> str:
    """Give the SHA-256 of the first certificate in a file.

    Raises:
        OSError, ValueError: there is none.
    """
    text = path.read_text(encoding="ascii", errors="replace")
    first = text[text.index(ssl.PEM_HEADER) :].partition(ssl.PEM_FOOTER)[0]
    return _digest(ssl.PEM_cert_to_DER_cert(f"{first}{ssl.PEM_FOOTER}"))


def read_served(
    host: str, port: int, root: Path | None, timeout_s: float, name: str | None = None
) -> str:
    """Give the SHA-256 of the certificate that a port shows.

    Args:
        host: where to ask.
        port: the same.
        root: whom to trust; None: anybody.
        timeout_s: seconds until it must answer.
        name: the host that is named (RFC 6066, section 3); None: none is.

    Raises:
        OSError: nobody answers by TLS, or somebody who is not trusted.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if root is None:
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(root)
    with (
        socket.create_connection((host, port), timeout_s) as sock,
        context.wrap_socket(sock, server_hostname=name) as wrapped,
    ):
        return _digest(wrapped.getpeercert(binary_form=True) or b"")


def _digest(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def _text(setting: str, path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise GateFailed(f"{setting} = {path} cannot be read: {error.strerror}") from error


def _refuse_password() -> str:
    raise GateFailed("TLS_KEY is locked with a password; allowed: a key without one")


def _refusal(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == EXPIRED:
        return "has expired; put a new certificate there"
    if error.verify_code == NOT_YET:
        return "is not valid yet; is the server's clock right?"
    return f"cannot be used: {error.verify_message}"


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> Certificate:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server)
    ends = (one, server.wrap_bio(to_server, to_client, server_side=True))
    for _ in range(STEPS):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:  # noqa: PERF203 - its turn comes again
                continue
    told, der = one.getpeercert(), one.getpeercert(binary_form=True)
    if not told or not der:
        raise GateFailed("TLS_CERT cannot be used: the trial with it does not come to an end")
    return _certificate(told, der)


def _certificate(told: Mapping[str, Any], der: bytes) -> Certificate:
    names = tuple(str(value) for _kind, value in told.get("subjectAltName", ()))
    return Certificate(names, ssl.cert_time_to_seconds(told["notAfter"]), _digest(der))
