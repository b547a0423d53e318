"""HTTPS as the gate sees it: which certificate is in force, and what the Caddyfile needs for it.

The operator's certificate and key are never given to Caddy where they lie. They are copied into one
file below ``data/caddy/tls``, named after its contents, once they have been found good. So a
certificate that is replaced by halves, or by a bad one, stands in no workspace's way; a new one
makes another Caddyfile, which goes its usual way (see ``live.py``); and what was in force before
is still there to go back to.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from manager import runtime
from manager.errors import GateFailed
from manager.gate import domain, page
from manager.gate.address import listener
from manager.gate.certificate import Certificate, read_pair, read_root
from manager.gate.domain import UNQUOTABLE, Domain
from manager.gate.names import own_names
from manager.gate.options import Options
from manager.settings import Settings

HSTS_INTERNAL_S, HSTS_FILES_S, HSTS_DOMAIN_S = 3600, 86_400, 86_400
"""How long browsers insist on HTTPS for this host *name*, unless TLS_HSTS says so. Short: it holds
for every port of the host, also for other programs', and nobody can take it back from a browser.
Shorter for an own authority: who loses its data directory makes another one, and people cannot
pass over a warning meanwhile."""

ROOT_PATH = Path("caddy/share/caddy/pki/authorities/local/root.crt")
"""Where Caddy keeps the certificate of its own authority, below the data directory."""

_NAME_LENGTH = 16


@dataclass(frozen=True)
class Tls:
    """What is in force. ``pem`` is the copy of certificate and key; None: the own authority's.

    ``names`` are those of the own authority's, and ``domain`` is the one that another is asked for;
    it counts as soon as it is there, and until then the own authority's for any name does.
    ``socket`` is where the manager's page answers, as Caddy finds it from its own folder.
    """

    names: tuple[str, ...]
    hsts_s: int
    socket: str
    pem: Path | None = None
    domain: Domain | None = None
    secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class Shown:
    """The certificate as operators are told of it: where it is, what it says, or why it is no good.

    With the own authority it is that authority's, which people trust; there is none before Caddy's
    first start. ``waiting`` says why Caddy has none for a domain name yet.
    """

    path: Path
    certificate: Certificate | None
    problem: str | None = None
    waiting: str | None = None


def shown(settings: Settings) -> Shown | None:
    """Look at the certificate, whether a manager runs or not; None without TLS."""
    if settings.tls == "off":
        return None
    if settings.tls == "internal":
        path = settings.data_dir / ROOT_PATH
        return Shown(path, read_root(path))
    if settings.tls == "domain":
        path, found = domain.certificate_path(settings), domain.read_stored(settings)
        return Shown(path, found, waiting=None if found else domain.problem(settings))
    try:
        return Shown(settings.tls_cert, read_pair(settings.tls_cert, settings.tls_key))
    except GateFailed as error:
        return Shown(settings.tls_cert, None, error.message)


class Keeper:
    """Keeps the certificate in force."""

    def __init__(self, settings: Settings, home: Path) -> None:
        """Read nothing yet. ``home`` is Caddy's folder."""
        self._settings = settings
        self._folder = home / "tls"
        self._seen: tuple[object, ...] = ()
        self._pem: Path | None = None
        self._certificate: Certificate | None = None
        self._refused: str | None = None

    @property
    def expires_at(self) -> float | None:
        """Give when the operator's or the domain's certificate ends, in UTC epoch seconds."""
        return self._certificate.expires_at if self._certificate else None

    @property
    def problem(self) -> str | None:
        """Say what is wrong with the operator's certificate, if anything is; cheap."""
        ends = self.expires_at if self._settings.tls == "files" else None
        if self._refused is None and ends is not None and ends < time.time():
            return f"TLS_CERT = {self._settings.tls_cert} has expired; put a new certificate there"
        return self._refused

    def current(self) -> Tls | None:
        """Give what is in force; None: no TLS.

        Raises:
            GateFailed: the operator's certificate was never good.
        """
        settings = self._settings
        if settings.tls == "off":
            return None
        socket = os.path.relpath(page.socket_path(settings), settings.caddyfile.parent)
        socket = min(socket, str(page.socket_path(settings)), key=len)
        if settings.tls == "files":
            if self._pem is None:
                self.take()
            names = self._certificate.names if self._certificate else ()
            return Tls(names, settings.tls_hsts or HSTS_FILES_S, socket, self._pem)
        if settings.tls == "domain":
            names = runtime.offload(own_names, "")
            asked = domain.wanted(settings)
            others = tuple(name for name in names if name != asked.name)
            return Tls(others, settings.tls_hsts or HSTS_DOMAIN_S, socket, domain=asked)
        names = runtime.offload(own_names, settings.external_ip)
        return Tls(names, settings.tls_hsts or HSTS_INTERNAL_S, socket)

    def take(self) -> bool:
        """Take the operator's certificate as it lies there; tell whether it is another one.

        Raises:
            GateFailed: it is not good; what was in force stays.
        """
        settings = self._settings
        if settings.tls == "domain":
            domain.wanted(settings)
        if settings.tls != "files":
            return False
        if UNQUOTABLE & set(str(self._folder)):
            raise GateFailed(
                f"TLS = files: DATA_DIR = {settings.data_dir} has signs in it that a "
                "Caddyfile cannot hold"
            )
        self._seen = self._signs()
        try:
            certificate = read_pair(settings.tls_cert, settings.tls_key)
            pem = self._copy()
            # What was read and what was copied may be two: somebody may be writing.
            certificate = read_pair(pem, pem)
        except GateFailed as error:
            self._refused = error.message
            raise
        except OSError as error:
            self._refused = f"{self._folder} cannot be written: {error.strerror}"
            raise GateFailed(self._refused) from error
        self._refused = None
        before, self._pem, self._certificate = self._pem, pem, certificate
        self._forget({pem, before})
        return before is not None and before != pem

    def renewed(self) -> bool:
        """Look whether the operator's files have changed, and take them; cheap if they have not.

        A domain's certificate is Caddy's to renew; it is looked at all the same.
        """
        if self._settings.tls == "domain":
            self._certificate = domain.read_stored(self._settings)
            self._refused = domain.problem(self._settings)
            return False
        if self._settings.tls != "files" or self._signs() == self._seen:
            return False
        try:
            return self.take()
        except GateFailed:
            return False

    def _signs(self) -> tuple[object, ...]:
        return tuple(_sign(path) for path in (self._settings.tls_cert, self._settings.tls_key))

    def _copy(self) -> Path:
        cert, key = self._settings.tls_cert.read_bytes(), self._settings.tls_key.read_bytes()
        content = cert.rstrip() + b"\n" + key.rstrip() + b"\n"
        digest = hashlib.sha256(content).hexdigest()[:_NAME_LENGTH]
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        pem, draft = self._folder / f"{digest}.pem", self._folder / "draft"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(pem)
        return pem

    def _forget(self, kept: set[Path | None]) -> None:
        for path in self._folder.glob("*.pem"):
            if path not in kept:
                path.unlink(missing_ok=True)


def _sign(path: Path) -> object:
    """Give what changes when somebody replaces the file, its mode or where it leads to."""
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def options(settings: Settings, tls: Tls) -> Options:
    """Give what TLS needs in the Caddyfile's first block."""
    single: list[str] = []
    if tls.pem is None:
        # Who comes by an address names none, and who uses a name that is not listed is shown one.
        likely = next((name for name in tls.names), "localhost")
        single = ["auto_https disable_redirects", "skip_install_trust"]
        single += [f"default_sni {likely}", f"fallback_sni {likely}"]
    ports = [(settings.manager_host, settings.manager_port, "h1 h2")]
    for row in settings.ports:
        # The gates' rules are proven for HTTP/1.1; websockets come by it anyway.
        ports += [
            (settings.gate_host, port, "h1") for port in (row.workspace_port, row.external_port)
        ]
    listeners = tuple((listener(host, port), protocols) for host, port, protocols in ports)
    return Options(tuple(single), listeners)
