"""The manager's own authority: one certificate a launch, for its name and for nothing else."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification

from manager.launcher.far.authority import DOMAIN, Authority, name_of
from manager.records import Address


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "instances" / "authority.pem")


def certificate(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def verify(authority: Path, pem: bytes, name: str) -> None:
    """Check as strictly as browsers do.

    Raises:
        VerificationError: it is not good for that name.
    """
    root = x509.load_pem_x509_certificate(authority.read_bytes())
    store = verification.Store([root])
    checker = verification.PolicyBuilder().store(store)
    checker.build_server_verifier(x509.DNSName(name)).verify(certificate(pem), [])


def test_a_certificate_is_good_for_its_own_launch_alone(authority: Authority) -> None:
    pem = authority.issue("a1b2")
    verify(authority.certificate, pem, name_of("a1b2"))
    for other in (name_of("a1b3"), DOMAIN, "localhost", f"x.{name_of('a1b2')}"):
        with pytest.raises(verification.VerificationError):
            verify(authority.certificate, pem, other)


def test_another_authority_is_none(authority: Authority, tmp_path: Path) -> None:
    theirs = Authority(tmp_path / "theirs.pem")
    pem = theirs.issue("a1b2")
    authority.ensure()
    with pytest.raises(verification.VerificationError):
        verify(authority.certificate, pem, name_of("a1b2"))


def test_it_allows_names_of_launches_alone_and_no_authority_below_it(authority: Authority) -> None:
    authority.ensure()
    root = certificate(authority.certificate.read_bytes())
    limits = root.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert limits.value.permitted_subtrees == [x509.DNSName(DOMAIN)]
    basic = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    leaf = certificate(authority.issue("one")).extensions
    assert not leaf.get_extension_for_class(x509.BasicConstraints).value.ca


def test_names_differ_whenever_launches_do() -> None:
    ids = ["a", "A", "a_b", "a-b", "A-b", "-a", "a-", "x--1", "x" * 64, "X" * 64, "0123abcd"]
    names = {name_of(one) for one in ids}
    assert len(names) == len(ids)
    for name in names:
        address = Address("10.0.0.1", 8001, "https", name)
        assert Address.parse(str(address)) == address
        assert all(0 < len(label) < 64 for label in name.split("."))


def test_its_key_is_for_the_manager_alone_and_stays_the_same(authority: Authority) -> None:
    first = authority.issue("one")
    key = authority.certificate.with_name("authority.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    again = Authority(authority.certificate)
    # One that was lost is written again out of the key's own file.
    authority.certificate.unlink()
    second = again.issue("two")
    for pem, name in ((first, "one"), (second, "two")):
        verify(authority.certificate, pem, name_of(name))


def test_killed_while_it_was_made_it_is_made_again(authority: Authority) -> None:
    authority.ensure()
    authority.certificate.with_name("authority.key").unlink()
    authority.certificate.with_name("authority.key.part").write_text("half")
    pem = authority.issue("one")
    verify(authority.certificate, pem, name_of("one"))


def test_what_is_no_authority_is_not_replaced(authority: Authority) -> None:
    key = authority.certificate.with_name("authority.key")
    key.parent.mkdir()
    key.write_text("not a key")
    with pytest.raises(ValueError, match=r"."):
        authority.issue("one")
    assert key.read_text() == "not a key"


def test_each_launch_has_a_key_of_its_own(authority: Authority) -> None:
    keys = set()
    for name in ("one", "two", "one"):
        found = serialization.load_pem_private_key(authority.issue(name), None)
        keys.add(
            found.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
    assert len(keys) == 3
