"""A certificate for a domain name, which Caddy asks of a public authority (ACME, RFC 8555).

Caddy asks, answers the authority's questions, keeps the certificate and renews it. Here is what it
is told, where it keeps what it got, and why it has got none. Until it has one, visitors are shown
one of the own authority, which browsers warn of; so gates and page work from the start, and nothing
waits for somebody else's server.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from manager.errors import GateFailed
from manager.gate import probe
from manager.gate.certificate import Certificate, read_pair, read_root
from manager.gate.program import find_program
from manager.settings import Settings

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
STORE = Path("caddy/share/caddy/certificates")
"""Where Caddy keeps certificates, below the data directory."""

LOG_TAIL_BYTES = 256 << 10
UNQUOTABLE = frozenset('"`\\{}')
LATE_S = 14 * 86_400
"""Caddy renews when a third of the time is left, which is 30 days with Let's Encrypt."""

DENIED, TAKEN = "denied", "taken"

_LOGGERS = ("tls.obtain", "tls.renew")
_UNSAFE = re.compile(r"[^\w@.-]")
_STEPS = re.compile(r"^(?:\[[^]]*\] |Obtain: |Renew: |(?:solving challenges|presenting [^:]*): )+")
_AFTER = re.compile(r" \((?:order|ca)=.*$")


@dataclass(frozen=True)
class Domain:
    """What Caddy is told. ``root`` is how it knows the authority; None: as the system does."""

    name: str
    ca: str
    email: str
    root: Path | None
    http_port: int
    alpn_port: int

    def issuer(self) -> str:
        """Write the lines of a site that have Caddy ask for a certificate."""
        lines = [f"dir {self.ca}", *([f"email {self.email}"] if self.email else [])]
        lines += [f'trusted_roots "{self.root}"'] if self.root else []
        lines += [f"alt_http_port {self.http_port}", f"alt_tlsalpn_port {self.alpn_port}"]
        inner = "".join(f"\t\t\t{line}\n" for line in lines)
        return f"\ttls {{\n\t\tissuer acme {{\n{inner}\t\t}}\n\t}}\n"


def wanted(settings: Settings) -> Domain:
    """Give what the settings say.

    Raises:
        GateFailed: the file of the authority's root certificate holds none.
    """
    root = settings.tls_acme_root
    if UNQUOTABLE & set(str(root)):
        raise GateFailed(f"TLS_ACME_ROOT = {root} has signs in it that a Caddyfile cannot hold")
    if root.exists() and read_root(root) is None:
        raise GateFailed(f"TLS_ACME_ROOT = {root} holds no root certificate that can be read (PEM)")
    return Domain(
        settings.external_ip.lower(),
        settings.tls_acme_ca or LETS_ENCRYPT,
        settings.tls_email,
        root if root.exists() else None,
        settings.tls_http_port,
        settings.tls_alpn_port,
    )


def certificate_path(settings: Settings) -> Path:
    """Give the file where Caddy keeps what this authority gave it for this name.

    The names are certmagic's (``issuerKey`` and ``KeyBuilder.Safe`` in its source); the key lies
    beside it.
    """
    found = urlsplit(settings.tls_acme_ca or LETS_ENCRYPT)
    authority = _safe(f"{found.netloc}{found.path.replace('/', '-')}")
    name = _safe(settings.external_ip)
    return settings.data_dir / STORE / authority / name / f"{name}.crt"


def _safe(text: str) -> str:
    return _UNSAFE.sub("", text.lower().replace(":", "-"))


def read_stored(settings: Settings) -> Certificate | None:
    """Read the certificate that Caddy has; None where it has none that is good now."""
    path = certificate_path(settings)
    try:
        return read_pair(path, path.with_suffix(".key"))
    except GateFailed:
        return None


def why_not(settings: Settings) -> str:
    """Say what Caddy wrote about its last try; empty where it has not failed since it got one."""
    log = settings.data_dir / "caddy" / "caddy.log"
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
            return last_failure(file.read(), settings.external_ip.lower())
    except OSError:
        return ""


def last_failure(log: bytes, name: str) -> str:
    """Find why Caddy could not get a certificate for ``name``; empty if it did after that."""
    for line in reversed(log.decode("utf-8", errors="replace").splitlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict) or entry.get("logger") not in _LOGGERS:
            continue
        told = str(entry.get("error", ""))
        if entry.get("identifier") != name and f"[{name}]" not in told:
            continue
        if entry.get("level") == "error":
            return _AFTER.sub("", _STEPS.sub("", told))
        if "successfully" in str(entry.get("msg")):
            return ""
    return ""


def blocked(settings: Settings) -> dict[int, tuple[str, str]]:
    """Say of the two ports which Caddy cannot have: ``DENIED`` or ``TAKEN``, and by whom.

    Caddy itself listens there only while it is asked, at the page's own address. Walks /proc where
    one is taken: offload it.
    """
    found: dict[int, tuple[str, str]] = {}
    for port in (settings.tls_http_port, settings.tls_alpn_port):
        if not probe.is_free(settings.manager_host, port):
            if not _is_own(settings, port):
                found[port] = (TAKEN, probe.holder(port))
        elif _denied(settings.manager_host, port) and not _may_bind(settings):
            found[port] = (DENIED, "")
    return found


def problem(settings: Settings) -> str | None:
    """Say why visitors meet a warning, and what to do, in a sentence; None if they do not."""
    found, reason = read_stored(settings), why_not(settings)
    if found is not None and (not reason or found.expires_at - time.time() > LATE_S):
        return None
    said = [f"HTTPS: no certificate for {settings.external_ip} yet, so browsers warn"]
    if found is not None:
        said = [f"HTTPS: the certificate for {settings.external_ip} is not renewed, and ends soon"]
    said += [f"Caddy says: {reason}"] if reason else []
    ports = blocked(settings)
    # One way is enough, and without a reason it has only just been begun.
    if reason or len(ports) > 1:
        said += [_remedy(settings, ports, kind) for kind in dict.fromkeys(ports.values())]
    if ports and reason:
        said.append("or take TLS = files with a certificate from elsewhere (by DNS, for example)")
    elif reason:
        said.append(
            f"is the authority in reach, does {settings.external_ip} lead here, and is port 80 or "
            "443 open to it?"
        )
    return "; ".join(said)


def _remedy(settings: Settings, ports: Mapping[int, tuple[str, str]], why: tuple[str, str]) -> str:
    such = " and ".join(str(port) for port, known in ports.items() if known == why)
    kind, holder = why
    if kind == TAKEN:
        return f"port {such} is taken by another program ({holder})"
    program = find_program(settings.caddy_path).resolve()
    return (
        f"Caddy may not listen on port {such}: as root, setcap cap_net_bind_service=+ep {program}, "
        "then end Caddy (it is started again)"
    )


def _is_own(settings: Settings, port: int) -> bool:
    """Tell whether it is a listener of Caddy's, which answers the authority there all the same."""
    gates = (number for row in settings.ports for number in (row.workspace_port, row.external_port))
    if port in (settings.manager_port, *gates):
        return True
    pid = probe.holder_pid(port)
    try:
        # While the authority asks, Caddy listens there.
        return pid is not None and Path(f"/proc/{pid}/exe").readlink().name.startswith("caddy")
    except OSError:
        return False


def _denied(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            return error.errno in (errno.EACCES, errno.EPERM)
    return False


def _may_bind(settings: Settings) -> bool:
    """Tell whether the program's file has a right of its own, as setcap gives it."""
    try:
        return bool(os.getxattr(find_program(settings.caddy_path), "security.capability"))
    except (OSError, GateFailed):
        return False
