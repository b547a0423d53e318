"""The manager's own small authority: one certificate for each launch on another machine.

An instance that is reached over a network must not be mistaken for anybody else. So each launch
gets a key and a certificate of its own, for a name made of its id and never for a host: whoever
later has the same address cannot show it. The authority signs nothing else, its certificate allows
only such names, and Caddy and the watch trust it for instances alone. Its key never leaves the
manager's disk. Certificates have no time that matters: each ends with its launch, whose id never
comes back, and clocks of machines may differ.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DOMAIN = "instance.comfyui-manager.internal"
"""Below it are the names of launches; ``internal`` is reserved for private use (ICANN, 2024)."""

_BEGIN = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
_END = datetime.datetime(2049, 12, 31, tzinfo=datetime.timezone.utc)
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,61}[a-z0-9]")


def name_of(launch_id: str) -> str:
    """Give the DNS name that a launch's certificate is for; no two launches have the same."""
    if _LABEL.fullmatch(launch_id) and not launch_id.startswith("x--"):
        return f"{launch_id}.{DOMAIN}"
    # Capitals and underscores are the same or nothing in names.
    return f"x--{hashlib.sha256(launch_id.encode()).hexdigest()[:40]}.{DOMAIN}"


class Authority:
    """One manager's authority, on its disk; made when it is first needed."""

    def __init__(self, certificate: Path) -> None:
        """Name its certificate's file; the key lies beside it, for the manager's account alone."""
        self.certificate = certificate
        self._key = certificate.with_name("authority.key")

    def ensure(self) -> None:
        """Make the authority where there is none.

        Raises:
            OSError: it cannot be written.
            ValueError: there is one that cannot be read.
        """
        self._load()

    def issue(self, launch_id: str) -> bytes:
        """Make key and certificate of a launch, as one PEM text.

        Raises:
            OSError: the authority cannot be read or written.
            ValueError: what is there is no authority.
        """
        ours, certificate = self._load()
        key = ec.generate_private_key(ec.SECP256R1())
        name = name_of(launch_id)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        signed = (
            _builder(launch_id, certificate.subject, key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ours.public_key()),
                critical=False,
            )
            .sign(ours, hashes.SHA256())
        )
        return _key_text(key) + signed.public_bytes(serialization.Encoding.PEM)

    def _load(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        try:
            text = self._key.read_bytes()
        except FileNotFoundError:
            return self._make()
        key: Any = serialization.load_pem_private_key(text, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{self._key} is not the key of an authority")
        # Both in the key's file: they cannot come apart.
        certificate = x509.load_pem_x509_certificate(text)
        if not self.certificate.exists():
            put(self.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return key, certificate

    def _make(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ComfyUI Manager instances")])
        only = x509.NameConstraints(
            permitted_subtrees=[x509.DNSName(DOMAIN)], excluded_subtrees=None
        )
        signed = (
            _builder("ComfyUI Manager instances", own, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_may_sign(), critical=True)
            .add_extension(only, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        text = signed.public_bytes(serialization.Encoding.PEM)
        self._key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The certificate alone first: with a key there always is one that fits.
        put(self.certificate, text)
        put(self._key, _key_text(key) + text)
        return key, signed


def _builder(
    name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
    )


def _may_sign() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def put(path: Path, content: bytes) -> None:
    """Write a file for this account alone, whole or not at all, safe on the disk."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(file, "wb") as out:  # noqa: PTH123 - a descriptor
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)
