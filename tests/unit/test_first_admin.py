"""The first account: which password it gets, and from where the printed one is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.security import generate_password_hash

from manager import credentials, modes, settings
from manager.accounts import Accounts
from manager.credentials import FIRST_ADMIN
from manager.doctor import places
from manager.errors import NotAuthenticated, NotPermitted, SettingsError
from manager.store import Store
from tests.support.web import Site

NEAR = ("127.0.0.1", "::1", "10.1.2.3", "172.31.0.9", "192.168.7.7", "169.254.1.1")
NEAR_6 = ("fd00::7", "fe80::1", "fe80::1%eth0", "::ffff:10.1.2.3")
FAR = ("8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "::ffff:8.8.8.8", "unix", "")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(
        credentials,
        "hash_password",
        lambda password: generate_password_hash(password, "pbkdf2:sha256:1"),
    )
    opened = Store(tmp_path / "comfyui_manager.db", 1)
    yield opened
    opened.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def made(store: Store, folder: Path, **environ: str) -> Accounts:
    return Accounts(settings.load(environ, root=folder), store)


@pytest.mark.parametrize("address", [*NEAR, *NEAR_6])
def test_the_printed_password_is_taken_near(store: Store, tmp_path: Path, address: str) -> None:
    accounts = made(store, tmp_path)
    assert accounts.ensure_admin()
    assert accounts.login(*FIRST_ADMIN, address)[0].must_change_password


@pytest.mark.parametrize("address", FAR)
def test_and_nowhere_else(
    store: Store, tmp_path: Path, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    accounts = made(store, tmp_path)
    accounts.ensure_admin()
    with pytest.raises(NotPermitted) as refusal:
        accounts.login(*FIRST_ADMIN, address)
    assert refusal.value.key == "not_permitted.first_password"
    assert store.read(lambda t: t.audit.latest(5))[0].action == "login_failed"
    assert f"login refused from {address} (first password)" in caplog.text


def test_what_a_proxy_says_can_only_take_it_away(store: Store, tmp_path: Path) -> None:
    accounts = made(store, tmp_path)
    accounts.ensure_admin()
    with pytest.raises(NotPermitted):
        accounts.login(*FIRST_ADMIN, "127.0.0.1", "8.8.8.8")
    with pytest.raises(NotPermitted):
        accounts.login(*FIRST_ADMIN, "8.8.8.8", "127.0.0.1")
    assert accounts.login(*FIRST_ADMIN, "127.0.0.1", "10.0.0.9")


def test_networks_of_admins_count_as_near(store: Store, tmp_path: Path) -> None:
    accounts = made(store, tmp_path, ADMIN_NETWORKS="8.8.8.0/24")
    accounts.ensure_admin()
    assert accounts.login(*FIRST_ADMIN, "8.8.8.8")
    with pytest.raises(NotPermitted):
        accounts.login(*FIRST_ADMIN, "8.8.9.8")


def test_an_own_password_is_taken_from_everywhere(store: Store, tmp_path: Path) -> None:
    accounts = made(store, tmp_path)
    accounts.ensure_admin()
    user, sid = accounts.login(*FIRST_ADMIN, "127.0.0.1")
    assert accounts.first_admin.is_known()
    accounts.change_password(user, FIRST_ADMIN[1], "correct horse battery", keep_sid=sid)
    assert not accounts.first_admin.is_known()
    assert accounts.login("admin", "correct horse battery", "8.8.8.8")


def test_a_disabled_account_is_no_danger(store: Store, tmp_path: Path) -> None:
    accounts = made(store, tmp_path)
    accounts.ensure_admin()
    assert accounts.first_admin.is_known()
    store.write(lambda t: t.users.set_rights(1, is_admin=True, is_active=False, assigned_port=None))
    assert not accounts.first_admin.is_known()


def test_a_random_one_is_shown_once_and_never_without_somebody_there(
    store: Store, tmp_path: Path
) -> None:
    accounts = made(store, tmp_path, FIRST_ADMIN_PASSWORD="random")
    with pytest.raises(SettingsError, match="first-admin"):
        accounts.ensure_admin()
    assert accounts.users() == []
    shown: list[str] = []
    assert accounts.ensure_admin(shown.append)
    assert not accounts.ensure_admin(shown.append)
    (password,) = shown
    with pytest.raises(NotAuthenticated):
        accounts.login(*FIRST_ADMIN, "127.0.0.1")
    assert accounts.login("admin", password, "8.8.8.8")[0].must_change_password


def test_the_operator_s_own_one_comes_from_a_closed_file(store: Store, tmp_path: Path) -> None:
    accounts = made(store, tmp_path, FIRST_ADMIN_PASSWORD="file")
    with pytest.raises(SettingsError, match="cannot be read"):
        accounts.ensure_admin()
    file = tmp_path / "first_admin_password"
    file.write_text("correct horse battery\n", encoding="utf-8")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        accounts.ensure_admin()
    file.chmod(0o600)
    assert accounts.ensure_admin()
    assert accounts.login("admin", "correct horse battery", "8.8.8.8")[0].must_change_password


@pytest.mark.parametrize("text", ["", "short", "admin123", "two lines\nof words", "password2024"])
def test_a_bad_one_makes_no_account(store: Store, tmp_path: Path, text: str) -> None:
    accounts = made(store, tmp_path, FIRST_ADMIN_PASSWORD="file")
    file = tmp_path / "first_admin_password"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o600)
    with pytest.raises(SettingsError) as refusal:
        accounts.ensure_admin()
    assert not text or text not in str(refusal.value)
    assert accounts.users() == []


def test_its_file_is_one_of_the_secrets(tmp_path: Path) -> None:
    in_force = settings.load({"FIRST_ADMIN_PASSWORD": "file"}, root=tmp_path)
    assert in_force.first_admin_password_file in modes.operators_secrets(in_force)


def test_the_doctor_says_so_while_it_stands(store: Store, tmp_path: Path) -> None:
    accounts = made(store, tmp_path)

    def said() -> list[str]:
        found = places.first_password(settings.load({}, root=tmp_path))
        return [f"{one.level} {one.case}" for one in found]

    assert said() == ["ok ok"], "there is no account"
    accounts.ensure_admin()
    assert said() == ["warning known"]
    accounts.change_password(
        accounts.users()[0], FIRST_ADMIN[1], "correct horse battery", keep_sid=""
    )
    assert said() == ["ok ok"]


def test_the_admins_page_says_so_while_it_stands(site: Site) -> None:
    admin = site.visitor("admin")
    assert "data-first-password" not in admin.get("/admin").text
    site.house.accounts.first_admin.known = True
    assert "data-first-password" in admin.get("/admin").text


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ({"X-Forwarded-For": "8.8.8.8, 10.0.0.1"}, ("8.8.8.8", "10.0.0.1")),
        ({"X-Real-IP": "8.8.8.8"}, ("8.8.8.8",)),
        (
            {"Forwarded": 'for=8.8.8.8;proto=http, for="[2001:db8::1]:80"'},
            ("8.8.8.8", "2001:db8::1"),
        ),
        ({"Forwarded": "for=unknown"}, ("unknown",)),
        ({}, ()),
    ],
)
def test_the_login_hands_on_what_proxies_say(
    site: Site, header: dict[str, str], named: tuple[str, ...]
) -> None:
    seen: list[tuple[str, ...]] = []
    login = site.house.accounts.login

    def look(username: str, password: str, address: str, *more: str) -> object:
        seen.append(more)
        return login(username, password, address)

    site.house.accounts.login = look  # type: ignore[method-assign, assignment]
    site.visitor(**header).log_in("ann", "x")
    assert seen == [named]
