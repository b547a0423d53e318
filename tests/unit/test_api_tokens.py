"""API tokens on a real store: what is kept of them, what opens, and what ends them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from manager import api_tokens, settings
from manager.accounts import Accounts
from manager.api_tokens import DAY_S, MOST_OF_A_USER, REFUSED_EVERY_S, SEEN_EVERY_S, ApiTokens
from manager.errors import (
    BadInput,
    Conflict,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    StoreFailed,
    TooManyAttempts,
)
from manager.records import AuditEntry, User
from manager.store import Store
from manager.throttle import PER_ADDRESS

NOW = 1_790_000_000.0
ADDRESS = "192.0.2.1"
PASSWORD = "a good password"


class House:
    """Accounts and tokens on a real store, with clocks that stand until told."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.path = folder / "db"
        self.folder = folder
        self.store = Store(self.path)
        self.now = NOW
        self.ticks = 0.0
        self.settings = settings.load({"COMFYUI_PATH": str(folder), **environ}, root=folder)
        self.accounts = Accounts(self.settings, self.store, clock=lambda: self.now)
        self.admin = self.add("admin", is_admin=True)
        self.ann = self.add("ann")
        self.tokens = self.begins()

    def add(self, name: str, *, is_admin: bool = False) -> User:
        """Add an account that no password opens: a hash of one takes its time."""
        number = self.store.write(
            lambda t: t.users.insert(
                name, "", is_admin=is_admin, assigned_port=None, must_change_password=False
            )
        )
        return self.accounts.user(number)

    def begins(self, key: bytes = b"k" * 32, **environ: str) -> ApiTokens:
        """Begin a manager over the same file."""
        of = settings.load(environ, root=self.folder) if environ else self.settings
        self.tokens = ApiTokens(
            of,
            self.store,
            key,
            self.accounts.wrong_token,
            lambda: self.now,
            lambda: self.ticks,
        )
        return self.tokens

    def make(self, scope: str = "use", days: int = 30, owner: User | None = None) -> str:
        return self.tokens.make(owner or self.ann, "nightly", scope, days)[1]

    def opens(self, token: str) -> bool:
        try:
            self.tokens.find(token, ADDRESS)
        except NotAuthenticated:
            return False
        return True

    def audit(self, action: str) -> list[AuditEntry]:
        return [e for e in self.store.read(lambda t: t.audit.latest(100)) if e.action == action]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.store.close()


def test_a_token_opens_for_its_owner_and_is_kept_nowhere(house: House) -> None:
    token = house.make()
    found = house.tokens.find(token, ADDRESS)
    assert (found.user.id, found.token.scope) == (house.ann.id, "use")
    assert (found.may("read"), found.may("use"), found.may("admin")) == (True, True, False)
    (listed,) = house.tokens.of_user(house.ann)
    assert listed.prefix == token[:10]
    assert token not in repr(listed)
    house.store.close()
    for path in house.folder.rglob("*"):
        if path.is_file():
            assert token[10:].encode() not in path.read_bytes(), path


def test_two_tokens_are_never_alike(house: House) -> None:
    assert len({house.make()[4:] for _ in range(10)}) == 10


def test_a_hash_of_another_key_opens_nothing(house: House) -> None:
    token = house.make()
    house.begins(key=b"another key of thirty two bytes!")
    assert not house.opens(token)


@pytest.mark.parametrize(
    "given", ["", "cmm_", "x", "cmm_" + "A" * 43, "cmm_" + "A" * 4000, "cmm_" + "é" * 43, "\ud800"]
)
def test_anything_else_opens_nothing(house: House, given: str) -> None:
    house.make()
    assert not house.opens(given)


def test_it_ends_when_it_was_said_to(house: House) -> None:
    token = house.make(days=7)
    house.now = NOW + 7 * DAY_S - 1
    assert house.opens(token)
    house.now += 1
    assert not house.opens(token)
    (refused,) = house.audit("token_refused")
    assert refused.detail == f"{token[:10]}… expired"


def test_a_lower_limit_holds_for_tokens_that_are_there(house: House) -> None:
    token = house.make(days=365)
    house.begins(API_TOKEN_DAYS_MAX="10")
    house.now = NOW + 10 * DAY_S - 1
    assert house.opens(token)
    house.now += 1
    assert not house.opens(token)
    assert house.tokens.ends_at(house.tokens.of_user(house.ann)[0]) == NOW + 10 * DAY_S


def test_with_none_allowed_none_is_made_or_taken(house: House) -> None:
    token = house.make()
    house.begins(API_TOKEN_DAYS_MAX="0")
    assert house.tokens.choices() == ()
    assert not house.opens(token)
    with pytest.raises(BadInput):
        house.make(days=1)


@pytest.mark.parametrize(
    ("most", "choices"), [("365", (7, 30, 90, 365)), ("31", (7, 30)), ("3", (3,)), ("0", ())]
)
def test_what_may_be_chosen(house: House, most: str, choices: tuple[int, ...]) -> None:
    assert house.begins(API_TOKEN_DAYS_MAX=most).choices() == choices


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\nb", "a\x00b", "a\u202eb"])
def test_a_name_is_one_plain_line(house: House, name: str) -> None:
    with pytest.raises(BadInput):
        house.tokens.make(house.ann, name, "use", 7)


@pytest.mark.parametrize(("scope", "days"), [("root", 7), ("", 7), ("use", 0), ("use", 366)])
def test_scope_and_time_are_of_those_allowed(house: House, scope: str, days: int) -> None:
    with pytest.raises(BadInput):
        house.tokens.make(house.ann, "n", scope, days)


def test_only_admins_get_one_that_does_what_admins_may(house: House) -> None:
    with pytest.raises(NotPermitted):
        house.make("admin")
    assert house.tokens.find(house.make("admin", owner=house.admin), ADDRESS).may("admin")


def test_a_user_has_so_many_and_old_ones_make_room(house: House) -> None:
    for _ in range(MOST_OF_A_USER):
        house.make(days=7)
    with pytest.raises(Conflict):
        house.make()
    house.now += 7 * DAY_S + api_tokens.EXPIRED_KEPT_S + 1
    house.make()
    assert len(house.tokens.of_user(house.ann)) == 1


def test_nobody_else_but_an_admin_revokes_one(house: House) -> None:
    token = house.make()
    bob = house.add("bob")
    (listed,) = house.tokens.of_user(house.ann)
    with pytest.raises(NotFound):
        house.tokens.revoke(bob, listed.id)
    assert house.opens(token)
    house.tokens.revoke(house.admin, listed.id)
    assert not house.opens(token)
    (entry,) = house.audit("token_revoked")
    assert (entry.actor, entry.subject) == ("admin", "ann")
    with pytest.raises(NotFound):
        house.tokens.revoke(house.admin, listed.id)


def test_it_ends_with_the_password(house: House) -> None:
    house.accounts.reset_password(house.admin, house.ann.id, PASSWORD)
    tokens = [house.make(), house.make("read")]
    foreign = house.make(owner=house.admin)
    house.accounts.change_password(house.ann, PASSWORD, "another good password", keep_sid="")
    assert not any(map(house.opens, tokens))
    assert house.opens(foreign)
    assert house.audit("password_changed")[0].detail == " tokens ended=2"
    token = house.make()
    house.accounts.reset_password(house.admin, house.ann.id)
    assert not house.opens(token)


def test_it_ends_with_the_account(house: House) -> None:
    token = house.make()
    house.accounts.update_user(house.admin, house.ann.id, is_active=False)
    assert not house.opens(token)
    house.accounts.update_user(house.admin, house.ann.id, is_active=True)
    assert not house.opens(token), "it does not come back either"
    token = house.make()
    house.accounts.delete_user(house.admin, house.ann.id)
    assert not house.opens(token)
    assert house.tokens.all() == []


def test_it_ends_with_an_account_that_is_disabled_with_others(house: House) -> None:
    token, bob = house.make(), house.add("bob")
    mine = house.make(owner=house.admin)
    house.accounts.people.set_active(house.admin, [house.ann.id, bob.id], active=False)
    house.accounts.people.set_active(house.admin, [house.ann.id, bob.id], active=True)
    assert (house.opens(token), house.opens(mine)) == (False, True)
    details = [one.detail for one in house.store.read(lambda t: t.audit.latest(9))]
    assert [one.endswith(" tokens ended=1") for one in details if "active=False" in one] == [
        False,
        True,
    ]


def test_a_disabled_owner_s_is_refused_whatever_the_table_holds(house: House) -> None:
    token = house.make()
    house.store.write(
        lambda t: t.users.set_rights(
            house.ann.id, is_admin=False, is_active=False, assigned_port=None
        )
    )
    assert not house.opens(token)


def test_who_is_no_admin_any_more_has_no_admin_s_token(house: House) -> None:
    house.accounts.update_user(house.admin, house.ann.id, is_admin=True)
    ann = house.accounts.user(house.ann.id)
    token, plain = house.make("admin", owner=ann), house.make("use", owner=ann)
    house.accounts.update_user(house.admin, ann.id, is_admin=False)
    assert (house.opens(token), house.opens(plain)) == (False, True)


def test_its_first_use_is_audited_and_later_ones_are_seldom_written(house: House) -> None:
    token = house.make()

    def used() -> tuple[float | None, str]:
        (one,) = house.tokens.of_user(house.ann)
        return one.used_at, one.used_from

    assert used() == (None, "")
    house.tokens.find(token, ADDRESS)
    assert used() == (NOW, ADDRESS)
    for _ in range(20):
        house.now += (SEEN_EVERY_S - 1) / 20
        house.tokens.find(token, "192.0.2.2")
    assert used() == (NOW, ADDRESS)
    house.begins()
    house.tokens.find(token, "192.0.2.2")
    assert used() == (NOW, ADDRESS), "nor by the next manager"
    house.now = NOW + SEEN_EVERY_S
    house.tokens.find(token, "192.0.2.2")
    assert used() == (NOW + SEEN_EVERY_S, "192.0.2.2")
    (first,) = house.audit("token_used")
    assert (first.actor, first.address) == ("ann", ADDRESS)


def test_a_full_disk_keeps_no_script_from_reading(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = house.make()

    def full(work: object) -> None:
        raise StoreFailed("disk full")

    monkeypatch.setattr(house.store, "write", full)
    assert house.opens(token)


def test_wrong_ones_count_with_the_wrong_passwords_of_the_address(house: House) -> None:
    for number in range(PER_ADDRESS.amount):
        assert not house.opens(f"cmm_{number:043}")
    with pytest.raises(TooManyAttempts) as refused:
        house.tokens.find("cmm_" + "z" * 43, ADDRESS)
    assert refused.value.retry_after > 0
    house.accounts.reset_password(house.admin, house.ann.id, PASSWORD)
    with pytest.raises(TooManyAttempts):
        house.accounts.login("ann", PASSWORD, ADDRESS)
    house.accounts.login("ann", PASSWORD, "192.0.2.9")
    assert house.opens(house.make()), "a right one is no try"
    assert len(house.audit("token_refused")) == PER_ADDRESS.amount


def test_a_forgotten_script_keeps_nobody_out(house: House) -> None:
    token = house.make()
    house.tokens.revoke(house.ann, house.tokens.of_user(house.ann)[0].id)
    for _ in range(3 * PER_ADDRESS.amount):
        assert not house.opens(token)
    assert len(house.audit("token_refused")) == 1
    house.accounts.reset_password(house.admin, house.ann.id, PASSWORD)
    house.accounts.login("ann", PASSWORD, ADDRESS)
    house.ticks += REFUSED_EVERY_S
    assert not house.opens(token)
    assert len(house.audit("token_refused")) == 2


def test_no_log_line_and_no_audit_line_has_a_token(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token, wrong = house.make(), "cmm_" + "z" * 43
    house.opens(token)
    house.opens(wrong)
    house.tokens.revoke(house.ann, house.tokens.of_user(house.ann)[0].id)
    house.opens(token)
    lines = caplog.text + repr(house.store.read(lambda t: t.audit.latest(100)))
    assert f"login refused from {ADDRESS} (token)" in lines
    for secret in (token[10:], wrong[10:]):
        assert secret not in lines
