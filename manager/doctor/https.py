"""How visitors come: by HTTPS or not, with which certificate, and until when."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from manager.doctor.finding import OK, PROBLEM, WARNING, Finding
from manager.errors import GateFailed
from manager.gate import domain
from manager.gate.address import is_everywhere
from manager.gate.certificate import Certificate, read_served
from manager.gate.domain import DENIED
from manager.gate.names import own_names
from manager.gate.program import find_program
from manager.gate.tls import Shown, shown
from manager.settings import Settings

SOON_S = 21 * 86_400
CONNECT_S = 3.0
OTHERS = 0o077


def https(settings: Settings, *, running: bool) -> Iterator[Finding]:
    """Look at the certificate, who may read its key, and whether it is the one that is served."""
    found = shown(settings)
    if found is None:
        yield Finding("https", OK, "in_front" if settings.cookie_secure else "off")
        return
    told: dict[str, object] = {"path": str(found.path)}
    if found.problem:
        yield Finding("https", PROBLEM, "unusable", {**told, "reason": found.problem})
        return
    if settings.tls == "domain":
        yield from _domain(settings, found)
    if found.certificate is None:
        if settings.tls != "domain":
            yield Finding("https", OK, "not_made", told)
        return
    yield from _certificate(settings, found.certificate, told)
    keys = {"internal": found.path.with_name("root.key"), "files": settings.tls_key}
    yield from _key(keys.get(settings.tls, found.path.with_suffix(".key")))
    if running:
        yield from _served(settings, found, found.certificate)


def _certificate(
    settings: Settings, found: Certificate, told: dict[str, object]
) -> Iterator[Finding]:
    own = settings.tls == "internal"
    names = own_names(settings.external_ip) if own else found.names
    until = time.strftime("%Y-%m-%d", time.gmtime(found.expires_at))
    told |= {"until": until, "names": ", ".join(names), "fingerprint": found.fingerprint}
    if settings.tls == "domain":
        # Caddy renews it long before; how long it lasts is the authority's to say.
        late = domain.problem(settings)
        told |= {"reason": domain.why_not(settings)}
        yield Finding("https", WARNING if late else OK, "late" if late else "ok", told)
    elif found.expires_at - time.time() < SOON_S:
        yield Finding("https", WARNING, "own_soon" if own else "soon", told)
    else:
        yield Finding("https", OK, "own" if own else "ok", told)
    host = settings.external_ip
    if host and not own and not _is_for(host, names):
        yield Finding("https", WARNING, "other_name", {**told, "host": host})


def _domain(settings: Settings, found: Shown) -> Iterator[Finding]:
    """Say why there is no certificate for the domain, and whether the ports for it can be had."""
    ports = domain.blocked(settings)
    told: dict[str, object] = {"host": settings.external_ip}
    if found.certificate is None:
        reason = domain.why_not(settings)
        level = PROBLEM if reason or len(ports) > 1 else WARNING
        told |= {"reason": reason}
        yield Finding("https", level, "refused" if reason else "waiting", told)
    # One way is enough.
    level = PROBLEM if len(ports) > 1 else WARNING
    program = ""
    with contextlib.suppress(GateFailed):
        program = str(find_program(settings.caddy_path).resolve())
    for port, (kind, holder) in ports.items():
        told = {**told, "port": port, "holder": holder, "program": program}
        yield Finding("https", level, "port_denied" if kind == DENIED else "port_taken", told)


def _is_for(host: str, names: tuple[str, ...]) -> bool:
    wild = f"*.{host.partition('.')[2]}"
    return host.lower() in {name.lower() for name in names} or wild.lower() in names


def _key(path: Path) -> Iterator[Finding]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return
    if mode & OTHERS:
        yield Finding("https", WARNING, "key_open", {"path": str(path), "mode": f"{mode:o}"})


def _served(settings: Settings, found: Shown, certificate: Certificate) -> Iterator[Finding]:
    everywhere = is_everywhere(settings.manager_host)
    host, port = "127.0.0.1" if everywhere else settings.manager_host, settings.manager_port
    root = found.path if settings.tls == "internal" else None
    try:
        name = settings.external_ip if settings.tls == "domain" else None
        fingerprint = read_served(host, port, root, CONNECT_S, name)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 1 else str(error)
        yield Finding("https", PROBLEM, "silent", {"port": port, "reason": reason})
        return
    if root is None and fingerprint != certificate.fingerprint:
        yield Finding("https", WARNING, "other_served", {"path": str(found.path), "port": port})
