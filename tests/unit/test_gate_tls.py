"""Which certificate is taken, for whom the own authority makes some, and what the file gets."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from manager import settings
from manager.errors import GateFailed
from manager.gate import caddyfile, names, options
from manager.gate.certificate import read_leaf, read_pair, read_root
from manager.gate.options import Options
from manager.gate.render import BEGIN, END
from manager.gate.tls import Keeper
from manager.settings import ROOT, Settings
from tests.support.tls import lock, make_pair

DAY_S = 86_400


@pytest.fixture
def of(tmp_path: Path) -> Settings:
    cert, key = make_pair(tmp_path / "tls")
    environ = {"TLS": "files", "TLS_CERT": str(cert), "TLS_KEY": str(key)}
    return settings.load(environ, root=tmp_path)


def test_a_good_pair_says_for_whom_and_how_long_it_is(of: Settings) -> None:
    found = read_pair(of.tls_cert, of.tls_key)
    assert found.names == ("127.0.0.1", "gate.test")
    assert 89 < (found.expires_at - time.time()) / DAY_S < 91
    assert found.fingerprint == read_leaf(of.tls_cert)
    assert read_root(of.tls_cert) is None, "it is nobody's authority"


def _spoil(of: Settings, how: str) -> None:
    other = of.tls_cert.parent / "other"
    if how == "expired":
        make_pair(of.tls_cert.parent, days=-1)
    elif how == "no certificate":
        of.tls_cert.unlink()
    elif how == "no key":
        of.tls_key.unlink()
    elif how == "nonsense":
        of.tls_cert.write_text("nonsense")
    elif how == "nonsense for a key":
        of.tls_key.write_text("nonsense")
    elif how == "another's key":
        make_pair(other)[1].replace(of.tls_key)
    elif how == "locked key":
        lock(of.tls_key, "a password")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("expired", "has expired"),
        ("no certificate", "TLS_CERT = .* cannot be read: No such file"),
        ("no key", "TLS_KEY = .* cannot be read: No such file"),
        ("nonsense", "TLS_CERT = .* holds no certificate"),
        ("nonsense for a key", "TLS_KEY = .* holds no key that can be used"),
        ("another's key", "TLS_KEY = .* is not the key of the first certificate in TLS_CERT"),
        ("locked key", "TLS_KEY is locked with a password"),
    ],
)
def test_what_cannot_be_used_is_said(of: Settings, how: str, words: str) -> None:
    _spoil(of, how)
    with pytest.raises(GateFailed, match=words) as refused:
        Keeper(of, of.data_dir / "caddy").take()
    assert "BEGIN" not in str(refused.value)


def test_what_is_in_force_stays_until_the_new_pair_is_whole(of: Settings) -> None:
    keeper = Keeper(of, of.data_dir / "caddy")
    keeper.take()
    before = keeper.current()
    assert before
    assert before.pem
    assert before.pem.stat().st_mode & 0o777 == 0o600
    assert not keeper.renewed()
    cert, key = make_pair(of.tls_cert.parent / "new")
    cert.replace(of.tls_cert)
    assert not keeper.renewed()
    assert keeper.problem
    assert "is not the key" in keeper.problem
    assert keeper.current() == before
    key.replace(of.tls_key)
    assert keeper.renewed()
    assert keeper.problem is None
    after = keeper.current()
    assert after
    assert after.pem
    assert after.pem != before.pem
    assert read_leaf(after.pem) == read_leaf(of.tls_cert)
    assert before.pem.exists(), "what was in force can be put back"
    assert not keeper.renewed()


def test_the_same_pair_written_again_changes_nothing(of: Settings) -> None:
    keeper = Keeper(of, of.data_dir / "caddy")
    keeper.take()
    of.tls_cert.write_bytes(of.tls_cert.read_bytes())
    assert not keeper.renewed()
    assert keeper.problem is None


@pytest.mark.parametrize("external", ["", "gpu.lab", "192.0.2.7", "2001:db8::7"])
def test_own_certificates_are_for_the_links_and_the_machine_itself(
    external: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "_addresses", lambda: ["10.0.0.5", "192.0.2.7"])
    monkeypatch.setattr(socket, "gethostname", lambda: "GPU-1")
    monkeypatch.setattr(socket, "getfqdn", lambda: "a name with spaces")
    found = names.own_names.__wrapped__(external)
    assert found[0] == (external or "10.0.0.5")
    assert {"gpu-1", "localhost", "127.0.0.1", "::1"} <= set(found)
    # Behind address translation whoever comes by an address must get the one of the links.
    assert ("10.0.0.5" in found) == (external != "2001:db8::7")
    assert len(found) == len(set(found))


WANTED = Options(("auto_https disable_redirects",), ((":8880", "h1 h2"), ("[::1]:9081", "h1")))
SHIPPED = (ROOT / "Caddyfile").read_text(encoding="utf-8")


def put(text: str) -> str:
    return caddyfile.split(text, Path("Caddyfile")).with_options(WANTED).around("")


def test_the_first_block_gets_the_lines_at_its_end_and_loses_them_again() -> None:
    outside = caddyfile.split(SHIPPED, Path("Caddyfile"))
    whole = outside.with_options(WANTED).around("")
    first = whole[: whole.index("\n}\n") + 3]
    assert first.index("auto_https off") < first.index("auto_https disable_redirects")
    assert "\tservers [::1]:9081 {\n\t\tprotocols h1\n\t\ttimeouts {\n" in first
    assert first.count("\t\t\tread_body_idle 1h\n") == 3
    assert first.count("\t\tlistener_wrappers {\n\t\t\thttp_redirect\n\t\t\ttls\n\t\t}\n") == 2
    again = caddyfile.split(outside.with_options(WANTED).around(_block()), Path("Caddyfile"))
    assert again == outside
    assert again.with_options(WANTED).around("") == whole


def _block() -> str:
    return SHIPPED[SHIPPED.index(BEGIN) :]


ADMIN = "".join(f"\t{line}\n" for line in caddyfile.ADMIN_LINES)
END_OF_FILE = f"{BEGIN} x\n{END} y\n"


@pytest.mark.parametrize(
    "own",
    [
        "",
        "\temail a@b.c # } mine {\n",
        "\tservers {\n\t\tlistener_wrappers {\n\t\t\tproxy_protocol\n\t\t}\n\t}\n",
        "\tservers {\n\t\ttimeouts {\n\t\t\tidle 7m\n\t\t}\n\t\tprotocols h1 h2 h3\n\t}\n",
        "\tservers :443 {\n\t\tmax_header_size 1MB\n\t}\n",
    ],
)
def test_the_operators_options_stay_and_count_for_our_listeners_too(own: str) -> None:
    text = f"# mine\n{{\n{ADMIN}{own}}}\n(snippet) {{\n\trespond x\n}}\n{END_OF_FILE}"
    found = put(text)
    assert found.startswith(f"# mine\n{{\n{ADMIN}{own}\t{options.BEGIN}\n")
    assert found.endswith(f"\t{options.END}\n}}\n(snippet) {{\n\trespond x\n}}\n")
    part = found[found.index(options.BEGIN) :]
    assert part.count("http_redirect") == (0 if "listener_wrappers" in own else 2)
    assert part.count("proxy_protocol") == 2 * own.count("proxy_protocol")
    assert part.count("idle 7m") == 2 * own.count("idle 7m")
    assert "h3" not in part
    assert "max_header_size" not in part


def test_an_admin_line_of_before_and_windows_line_ends_are_no_hindrance() -> None:
    old = f"{{\r\n\t{caddyfile.OLD_ADMIN_LINE}\r\n}}\r\n{END_OF_FILE}"
    found = put(old)
    assert found.count(f"\t{options.BEGIN}\r\n") == 1
    assert found.endswith(f"\t{options.END}\r\n}}\r\n")


@pytest.mark.parametrize("text", [f"x {{\n{ADMIN}}}\n", f"{{\n{ADMIN}"])
def test_a_first_block_that_is_none_is_said(text: str) -> None:
    with pytest.raises(GateFailed, match="first block of the Caddyfile"):
        put(text + END_OF_FILE)


def test_a_part_without_its_end_is_said() -> None:
    with pytest.raises(GateFailed, match="but not"):
        put(f"{{\n{ADMIN}\t{options.BEGIN}\n}}\n{END_OF_FILE}")


@pytest.mark.parametrize(
    ("tls", "asked", "seconds"),
    [
        ("internal", "0", 3600),
        ("domain", "0", DAY_S),
        ("files", "0", DAY_S),
        ("internal", "31536000", 31_536_000),
        ("domain", "31536000", 31_536_000),
        ("files", "31536000", 31_536_000),
    ],
)
def test_how_long_browsers_insist_on_https(
    of: Settings, tmp_path: Path, tls: str, asked: str, seconds: int
) -> None:
    environ = {"TLS": tls, "TLS_HSTS": asked, "EXTERNAL_IP": "gpu.example.org"}
    pair = {"TLS_CERT": str(of.tls_cert), "TLS_KEY": str(of.tls_key)}
    in_force = settings.load({**environ, **pair}, root=tmp_path)
    found = Keeper(in_force, tmp_path / "caddy").current()
    assert found is not None
    assert found.hsts_s == seconds
