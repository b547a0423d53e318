"""A certificate for a domain: what Caddy is told, what it said, and who has the ports for it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from manager import settings
from manager.doctor import https
from manager.errors import GateFailed, SettingsError
from manager.gate import domain
from manager.gate.domain import DENIED, TAKEN
from manager.gate.tls import Keeper, shown
from manager.settings import Settings
from tests.support.ports import free_ports
from tests.support.tls import make_pair

NAME = "gpu.example.org"


def make(folder: Path, **environ: str) -> Settings:
    http, alpn = map(str, free_ports(2))
    ports = {"TLS_HTTP_PORT": http, "TLS_ALPN_PORT": alpn}
    told = {"TLS": "domain", "EXTERNAL_IP": NAME, **ports, **environ}
    return settings.load(told, root=folder)


@pytest.mark.parametrize(
    "name", ["", "192.0.2.7", "2001:db8::7", "gpu", "gpu.7", "gpu.-x.org", "x-.org", "a..b"]
)
def test_what_is_no_domain_name_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TLS = domain needs EXTERNAL_IP"):
        make(tmp_path, EXTERNAL_IP=name)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("TLS_ACME_CA", "http://ca.lab/directory"),
        ("TLS_ACME_CA", "https://ca.lab/x {\n"),
        ("TLS_ACME_CA", "https://ca.lab/{$HOME}"),
        ("TLS_EMAIL", "nobody"),
        ("TLS_EMAIL", "a b@c.d"),
        ("TLS_EMAIL", "a@b.c\n}"),
        ("TLS_HTTP_PORT", "0"),
    ],
)
def test_nothing_else_gets_into_the_caddyfile(setting: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=setting):
        make(tmp_path, **{setting: value})


def test_caddy_is_told_the_authority_and_the_ports(tmp_path: Path) -> None:
    of = make(tmp_path, TLS_EMAIL="it@example.org", EXTERNAL_IP="GPU.Example.org")
    told = domain.wanted(of)
    assert told.name == NAME
    lines = [line.strip() for line in told.issuer().splitlines()]
    assert f"dir {domain.LETS_ENCRYPT}" in lines
    assert "email it@example.org" in lines
    assert f"alt_http_port {of.tls_http_port}" in lines
    assert f"alt_tlsalpn_port {of.tls_alpn_port}" in lines
    assert not [line for line in lines if line.startswith("trusted_roots")]
    of.tls_acme_root.parent.mkdir()
    of.tls_acme_root.write_text("nonsense")
    with pytest.raises(GateFailed, match="holds no root certificate"):
        Keeper(of, of.data_dir / "caddy").take()


def line(level: str, name: str, text: str, *, logger: str = "tls.obtain") -> str:
    entry = {"level": level, "logger": logger, "identifier": name}
    key = "error" if level == "error" else "msg"
    return json.dumps({**entry, key: text}) + "\n"


REFUSED = (
    f"[{NAME}] solving challenges: presenting for challenge: presenting with embedded solver: "
    "could not start listener for challenge server at :80: listen tcp :80: bind: permission denied "
    "(order=https://ca.lab/order/1) (ca=https://ca.lab/directory)"
)


def test_the_reason_is_the_last_one_since_a_certificate_came() -> None:
    failed, came = line("error", NAME, REFUSED), line("info", NAME, "obtained successfully")
    other = line("error", "other.example.org", "[other.example.org] no")
    noise = "not json\n[]\n" + line("error", NAME, "x", logger="http")
    said = domain.last_failure((failed + other + noise).encode(), NAME)
    assert said.startswith("could not start listener for challenge server at :80")
    assert said.endswith("permission denied")
    for log in ("", other, noise, failed + came, failed + came + other):
        assert domain.last_failure(log.encode(), NAME) == "", log
    assert domain.last_failure((came + failed).encode(), NAME)


def test_a_port_of_somebody_else_is_named_with_who_has_it(tmp_path: Path) -> None:
    of = make(tmp_path)
    assert domain.blocked(of) == {}
    with socket.socket() as other:
        other.bind(("127.0.0.1", of.tls_http_port))
        other.listen()
        ((port, (kind, holder)),) = domain.blocked(of).items()
        assert (port, kind) == (of.tls_http_port, TAKEN)
        assert str(os.getpid()) in holder
        (waiting, taken) = https.https(of, running=False)
        assert (waiting.case, taken.case, taken.level) == ("waiting", "port_taken", "warning")
    # A gate's own port is Caddy's, and so is the page's: it answers there by itself.
    own = make(tmp_path, TLS_ALPN_PORT=str(of.ports[0].workspace_port), TLS_HTTP_PORT="8880")
    assert domain.blocked(own) == {}


def test_a_port_that_needs_root_is_named_with_what_to_do(tmp_path: Path) -> None:
    of = make(tmp_path, TLS_HTTP_PORT="81", TLS_ALPN_PORT="82")
    begin = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    log = of.data_dir / "caddy/caddy.log"
    log.parent.mkdir(parents=True)
    log.write_text(line("error", NAME, REFUSED))
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        found = {port: kind for port, (kind, _holder) in domain.blocked(of).items()}
        problem = str(domain.problem(of))
    finally:
        if root:
            os.seteuid(0)
    assert found == (dict.fromkeys((81, 82), DENIED) if begin > 82 else {})
    assert ("port 81 and 82: as root, setcap cap_net_bind_service=+ep /" in problem) == bool(found)


def test_what_is_there_is_told_until_it_ends_and_nothing_is_wrong(tmp_path: Path) -> None:
    of = make(tmp_path)
    before = shown(of)
    assert before
    assert before.certificate is None
    assert f"no certificate for {NAME} yet" in str(before.waiting)
    path = domain.certificate_path(of)
    assert path.parent.parent.name == "acme-v02.api.letsencrypt.org-directory"
    cert, key = make_pair(tmp_path / "made", names=f"DNS:{NAME}")
    path.parent.mkdir(parents=True)
    cert.replace(path)
    key.replace(path.with_suffix(".key"))
    after = shown(of)
    assert after
    assert after.certificate
    assert (after.certificate.names, after.waiting) == ((NAME,), None)
    keeper = Keeper(of, of.data_dir / "caddy")
    assert not keeper.renewed()
    assert keeper.problem is None
    assert keeper.expires_at == after.certificate.expires_at


@pytest.mark.parametrize(("days", "said"), [(13, "is not renewed, and ends soon"), (20, None)])
def test_a_certificate_that_is_not_renewed_is_told_in_time(
    days: int, said: str | None, tmp_path: Path
) -> None:
    of = make(tmp_path)
    path = domain.certificate_path(of)
    cert, key = make_pair(tmp_path / "made", names=f"DNS:{NAME}", days=days)
    path.parent.mkdir(parents=True)
    cert.replace(path)
    key.replace(path.with_suffix(".key"))
    (of.data_dir / "caddy/caddy.log").write_text(line("error", NAME, REFUSED))
    problem = domain.problem(of)
    assert (problem is None) == (said is None)
    assert said is None or said in str(problem)
