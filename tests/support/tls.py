"""Certificates for tests, made by the system's openssl: one authority a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

NAMES = "IP:127.0.0.1,DNS:gate.test"


def make_pair(folder: Path, *, days: int = 90, names: str = NAMES) -> tuple[Path, Path]:
    """Make a certificate that signs itself, and its key; ``days`` -1: it ended yesterday."""
    folder.mkdir(parents=True, exist_ok=True)
    cert, key = folder / "cert.pem", folder / "key.pem"
    request, extras = folder / "request.pem", folder / "extras"
    extras.write_text(f"subjectAltName={names}\n", encoding="ascii")
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    _openssl("req", "-new", "-key", key, "-subj", "/CN=test", "-out", request)
    signed = ("-req", "-in", request, "-signkey", key, "-days", str(days), "-extfile", extras)
    _openssl("x509", *signed, "-out", cert)
    key.chmod(0o600)
    return cert, key


def lock(key: Path, password: str) -> None:
    """Lock a key with a password."""
    locked = key.with_suffix(".locked")
    _openssl("pkcs8", "-topk8", "-in", key, "-passout", f"pass:{password}", "-out", locked)
    locked.replace(key)


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)
