"""Whose account a person of the provider has here; on a real database."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from manager import launching, modes, settings
from manager.accounts import Accounts
from manager.errors import Conflict, NotAuthenticated, NotFound, SettingsError, TooManyAttempts
from manager.records import User
from manager.settings import Settings
from manager.sign_in_records import Identity
from manager.store import Store

ISSUER = "https://id.example.com/realms/lab"
ADDRESS = "192.0.2.7"
PASSWORD = "a good password"

Make = Callable[..., Accounts]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "db")


@pytest.fixture
def make(tmp_path: Path, store: Store) -> Make:
    """Make the accounts of a manager with these settings, over the one store."""
    plain = settings.load({"OIDC_ISSUER": ISSUER, "OIDC_CLIENT_ID": "us"}, root=tmp_path)

    def made(**changes: object) -> Accounts:
        accounts = Accounts(dataclasses.replace(plain, **changes), store)  # type: ignore[arg-type]
        accounts.ensure_admin()
        return accounts

    return made


def admin_of(accounts: Accounts) -> User:
    return next(one for one in accounts.users() if one.is_admin)


def person(subject: str, username: str = "ann", is_admin: bool | None = None) -> Identity:
    return Identity(ISSUER, subject, username, is_admin)


def refused(accounts: Accounts, who: Identity) -> str:
    with pytest.raises(NotAuthenticated) as caught:
        accounts.sign_ins.comes_in(who, ADDRESS)
    return str(caught.value.reason)


def audit_of(store: Store) -> list[tuple[str, str, str]]:
    from manager.audit_records import AuditFilter

    lines = store.read(lambda t: t.audit.page(AuditFilter(), 100))
    return [(one.entry.actor, one.entry.action, one.entry.subject) for one in lines][::-1]


def test_an_account_is_tied_once_by_name_where_an_admin_has_opened_it(
    make: Make, store: Store
) -> None:
    accounts = make()
    admin = admin_of(accounts)
    ann = accounts.create_user(admin, "Ann", PASSWORD)
    assert refused(accounts, person("1")) == "sign_in_not_tied"
    accounts.sign_ins.allow(admin, [ann.id], allowed=True)
    assert accounts.sign_ins.tie_of(ann).allowed_at is not None
    user, sid = accounts.sign_ins.comes_in(person("1"), ADDRESS)
    assert user.id == ann.id
    assert accounts.sign_ins.tie_of(ann).subject == "1"
    assert accounts.sign_ins.tie_of(ann).allowed_at is None
    here = accounts.who(sid)
    assert here is not None
    # The password that was handed out has to be changed by whoever comes by it, not by her.
    assert not here.must_change_password
    assert accounts.user(ann.id).must_change_password
    assert accounts.own.owners([sid])[sid].must_change_password is False
    (login,) = accounts.own.list(ann, sid)
    assert login.by_provider
    # Another person of the name; and she herself with another.
    assert refused(accounts, person("2", "Ann")) == "sign_in_not_tied"
    assert accounts.sign_ins.comes_in(person("1", "married"), ADDRESS)[0].id == ann.id
    # A tied one is not opened once more.
    accounts.sign_ins.allow(admin, [ann.id], allowed=True)
    assert refused(accounts, person("2", "Ann")) == "sign_in_not_tied"
    # Nor by a permit that was given while another provider was set.
    make(oidc_issuer="https://other.example.com").sign_ins.allow(admin, [ann.id], allowed=True)
    assert refused(accounts, person("2", "Ann")) == "sign_in_not_tied"
    assert ("sign-in service", "sign_in_tied", "Ann") in audit_of(store)
    assert ("Ann", "login", "Ann") in audit_of(store)
    assert ("Ann", "login_failed", "Ann") in audit_of(store)


def test_the_same_subject_of_another_issuer_is_somebody_else(make: Make) -> None:
    accounts = make(oidc_create_users=True)
    ann, _ = accounts.sign_ins.comes_in(person("1"), ADDRESS)
    elsewhere = make(oidc_create_users=True, oidc_issuer="https://other.example.com")
    who = Identity("https://other.example.com", "1", "ann")
    assert refused(elsewhere, who) == "sign_in_not_tied"
    assert elsewhere.sign_ins.tie_of(ann).subject is None
    other, _ = elsewhere.sign_ins.comes_in(dataclasses.replace(who, username="bea"), ADDRESS)
    assert other.id != ann.id


def test_accounts_are_made_where_that_is_set_and_never_over_another(
    make: Make, store: Store
) -> None:
    assert refused(make(), person("1")) == "sign_in_not_tied"
    accounts = make(oidc_create_users=True)
    accounts.create_user(admin_of(accounts), "Bob", PASSWORD)
    for name in ("admin", "ADMIN", "bob"):
        assert refused(accounts, person("1", name)) == "sign_in_not_tied"
    for name in ("", "../x", "a b", "x" * 65):
        assert refused(accounts, person("1", name)) == "sign_in_name"
    ann, sid = accounts.sign_ins.comes_in(person("1"), ADDRESS)
    assert (ann.username, ann.is_admin, ann.must_change_password) == ("ann", False, False)
    assert accounts.who(sid) == ann
    assert not accounts.sign_ins.has_password(ann)
    assert ("sign-in service", "user_created", "ann") in audit_of(store)


@pytest.mark.parametrize("password", ["", " ", "ann", PASSWORD])
def test_an_account_without_a_password_opens_by_none_until_an_admin_sets_one(
    make: Make, password: str
) -> None:
    accounts = make(oidc_create_users=True)
    ann, sid = accounts.sign_ins.comes_in(person("1"), ADDRESS)
    with pytest.raises(NotAuthenticated):
        accounts.login("ann", password, ADDRESS)
    with pytest.raises(NotAuthenticated):
        accounts.change_password(ann, password, "another good one", keep_sid=sid)
    given = accounts.reset_password(admin_of(accounts), ann.id)
    assert accounts.sign_ins.has_password(ann)
    assert accounts.who(sid) is None
    user, by_password = accounts.login("ann", given, ADDRESS)
    assert user.id == ann.id
    here = accounts.who(by_password)
    assert here is not None
    assert here.must_change_password


def test_a_second_factor_is_wanted_of_passwords_and_not_of_who_comes_by_a_provider(
    make: Make,
) -> None:
    accounts = make(oidc_create_users=True, admin_second_factor="required")
    ann, sid = accounts.sign_ins.comes_in(person("1", is_admin=True), ADDRESS)
    assert ann.is_admin
    by_provider = accounts.who(sid, ADDRESS)
    assert by_provider is not None
    assert (by_provider.is_admin, by_provider.must_set_second_factor) == (True, False)
    given = accounts.reset_password(admin_of(accounts), ann.id)
    by_password = accounts.who(accounts.login("ann", given, ADDRESS)[1], ADDRESS)
    assert by_password is not None
    assert (by_password.is_admin, by_password.must_set_second_factor) == (False, True)


def test_a_disabled_account_is_not_opened_nor_tied(make: Make) -> None:
    accounts = make()
    admin = admin_of(accounts)
    ann = accounts.create_user(admin, "ann", PASSWORD)
    accounts.sign_ins.allow(admin, [ann.id], allowed=True)
    accounts.update_user(admin, ann.id, is_active=False)
    assert refused(accounts, person("1")) == "sign_in_disabled"
    assert accounts.sign_ins.tie_of(ann).allowed_at is not None
    accounts.update_user(admin, ann.id, is_active=True)
    _, sid = accounts.sign_ins.comes_in(person("1"), ADDRESS)
    accounts.update_user(admin, ann.id, is_active=False)
    assert accounts.who(sid) is None
    assert refused(accounts, person("1")) == "sign_in_disabled"


def test_untying_ends_logins_and_a_deleted_account_takes_its_tie_along(make: Make) -> None:
    accounts = make(oidc_create_users=True)
    admin = admin_of(accounts)
    ann, sid = accounts.sign_ins.comes_in(person("1"), ADDRESS)
    with pytest.raises(Conflict):
        accounts.sign_ins.untie(ann, [ann.id])
    with pytest.raises(NotFound):
        accounts.sign_ins.untie(admin, [ann.id, 999])
    assert accounts.who(sid) is not None
    accounts.sign_ins.untie(admin, [ann.id])
    assert accounts.who(sid) is None
    # The name is an account's now, and that is closed.
    assert refused(accounts, person("1")) == "sign_in_not_tied"
    accounts.sign_ins.allow(admin, [ann.id], allowed=True)
    accounts.delete_user(admin, ann.id)
    new, _ = accounts.sign_ins.comes_in(person("1"), ADDRESS)
    assert new.id != ann.id


def test_a_permit_can_be_taken_back_and_is_all_or_nothing(make: Make) -> None:
    accounts = make()
    admin = admin_of(accounts)
    ann = accounts.create_user(admin, "ann", PASSWORD)
    with pytest.raises(NotFound):
        accounts.sign_ins.allow(admin, [ann.id, 999], allowed=True)
    assert refused(accounts, person("1")) == "sign_in_not_tied"
    accounts.sign_ins.allow(admin, [ann.id], allowed=True)
    accounts.sign_ins.allow(admin, [ann.id], allowed=False)
    assert refused(accounts, person("1")) == "sign_in_not_tied"


def test_the_group_decides_at_each_login_and_the_last_admin_stays(make: Make, store: Store) -> None:
    accounts = make(oidc_create_users=True)
    admin = admin_of(accounts)
    ann, _ = accounts.sign_ins.comes_in(person("1", is_admin=True), ADDRESS)
    assert ann.is_admin
    store.write(lambda t: t.api_tokens.add(ann.id, "0" * 64, "cmm_", "n", "admin", 0.0, 9e9))
    store.write(lambda t: t.api_tokens.add(ann.id, "1" * 64, "cmm_", "n", "use", 0.0, 9e9))
    ann, _ = accounts.sign_ins.comes_in(person("1", is_admin=False), ADDRESS)
    assert not ann.is_admin
    left = store.read(lambda t: t.api_tokens.of_user(ann.id))
    assert [one.scope for one in left] == ["use"]
    # Without a group whoever was made an admin here stays one.
    accounts.update_user(admin, ann.id, is_admin=True)
    assert accounts.sign_ins.comes_in(person("1"), ADDRESS)[0].is_admin
    accounts.update_user(ann, admin.id, is_admin=False)
    assert accounts.sign_ins.comes_in(person("1", is_admin=False), ADDRESS)[0].is_admin


def test_returns_share_the_address_s_tries_with_passwords(make: Make) -> None:
    accounts = make()
    for _ in range(60):
        accounts.sign_in_tried(ADDRESS)
    with pytest.raises(TooManyAttempts):
        accounts.sign_in_tried(ADDRESS)
    with pytest.raises(TooManyAttempts):
        accounts.login("admin", "admin123", ADDRESS)
    accounts.sign_in_tried("192.0.2.8")


@pytest.mark.parametrize(
    "issuer",
    [
        "http://id.example.com",
        "https://",
        "ftp://id.example.com",
        "https://id.example.com/?x=1",
        "https://id.example.com/#x",
        "https://ann@id.example.com",
        "https://id.example.com/a b",
        "http://10.0.0.1/",
        "id.example.com",
    ],
)
def test_an_issuer_that_others_can_listen_to_is_no_setting(tmp_path: Path, issuer: str) -> None:
    with pytest.raises(SettingsError, match="OIDC_ISSUER"):
        settings.load({"OIDC_ISSUER": issuer, "OIDC_CLIENT_ID": "us"}, root=tmp_path)


@pytest.mark.parametrize("issuer", [ISSUER, f"{ISSUER}/", "http://127.0.0.1:8080", "http://[::1]/"])
def test_an_issuer_is_kept_letter_by_letter(tmp_path: Path, issuer: str) -> None:
    found = settings.load({"OIDC_ISSUER": issuer, "OIDC_CLIENT_ID": "us"}, root=tmp_path)
    assert found.oidc_issuer == issuer


def test_a_provider_needs_a_client(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="OIDC_CLIENT_ID is empty"):
        settings.load({"OIDC_ISSUER": ISSUER}, root=tmp_path)


@pytest.fixture
def of(tmp_path: Path) -> Settings:
    return settings.load(
        {"OIDC_ISSUER": ISSUER, "OIDC_CLIENT_ID": "us", "OIDC_CLIENT_SECRET_FILE": "secret"},
        root=tmp_path,
    )


def test_the_secret_s_file_is_closed_to_others_at_the_start(of: Settings) -> None:
    path = of.oidc_client_secret_file
    path.write_text("S3CRET", encoding="utf-8")
    path.chmod(0o644)
    assert modes.mend(of) == [path]
    assert path.stat().st_mode & 0o777 == 0o600
    # Nor does a ComfyUI see it.
    assert path in launching.ours(of)
    assert path not in launching.ours(dataclasses.replace(of, oidc_issuer=""))


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two\nlines", b"\xff"])
def test_a_secret_that_cannot_be_read_is_said(of: Settings, content: bytes | None) -> None:
    from manager.oidc import Provider

    if content is not None:
        of.oidc_client_secret_file.write_bytes(content)
    with pytest.raises(SettingsError, match="OIDC_CLIENT_SECRET_FILE") as caught:
        Provider(of)
    assert "two" not in str(caught.value)
    of.oidc_client_secret_file.write_text("S3CRET\n", encoding="utf-8")
    Provider(of)
