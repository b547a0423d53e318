"""Second factors on a real store: codes, recovery codes, the half-way state, guesses, reset."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pyotp
import pytest
from limits import RateLimitItemPerHour
from werkzeug.security import generate_password_hash

from manager import credentials, settings, throttle
from manager import one_time_codes as codes
from manager.accounts import Accounts
from manager.audit_records import AuditFilter
from manager.errors import (
    BadInput,
    CodeRequired,
    Conflict,
    ManagerError,
    NotAuthenticated,
    NotFound,
    TooManyAttempts,
)
from manager.records import OPERATOR, User
from manager.second_factor import HALF_WAY_S, SETUP_S, SecondFactors
from manager.short_memory import MOST, ShortMemory
from manager.store import Store, copies
from manager.throttle import CODES_PER_NAME, CODES_PER_PAIR, PER_PAIR, Throttle
from manager.web import i18n

NOW = 1_790_000_000.0
STEP = codes.STEP_S
KEY = b"k" * 32
HERE, THERE = "192.0.2.1", "198.51.100.2"
NEAR = "127.0.0.1"
PASSWORD = "a good password"
WRONG = "000000"


@pytest.fixture(autouse=True)
def _cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    def cheap(password: str) -> str:
        return generate_password_hash(password, method="pbkdf2:sha256:1")

    monkeypatch.setattr(credentials, "generate_password_hash", cheap)
    monkeypatch.setattr(credentials, "hash_made", cheap)


class House:
    """Accounts on a real store, with clocks that stand until told."""

    def __init__(self, folder: Path, key: bytes = KEY, **environ: str) -> None:
        self.path = folder / "db"
        self.store = Store(self.path)
        self.now, self.up = NOW, 0.0
        of = settings.load(environ, root=folder)
        self.accounts = Accounts(of, self.store, clock=lambda: self.now, key=key)
        self.factors = SecondFactors(
            self.store, self.accounts._door, key, lambda: self.now, lambda: self.up
        )
        self.accounts.second_factor = self.factors
        self.accounts.ensure_admin()
        self.admin = self.accounts.users()[0]
        self.secret = ""

    def user(self, name: str = "ann", *, admin: bool = False) -> User:
        """Make somebody who has set his own password."""
        made = self.accounts.create_user(self.admin, name, PASSWORD, is_admin=admin)
        hashed = credentials.hash_password(PASSWORD)
        self.store.write(lambda t: t.users.set_password(made.id, hashed, must_change=False))
        return self.accounts.user(made.id)

    def turns_on(self, user: User, sid: str = "here") -> list[str]:
        """Set it up; the next code is one of the next step."""
        self.factors.begin(user, PASSWORD, sid)
        setup = self.factors.setup(user, sid)
        assert setup is not None
        self.secret = setup.secret
        made = self.factors.confirm(user, self.code(), sid)
        self.now += 2 * STEP
        return made

    def code(self, steps: int = 0) -> str:
        """Give what the phone shows, or showed so many steps from now."""
        return pyotp.TOTP(self.secret).at(self.now + steps * STEP)

    def ticket(self, name: str = "ann", address: str = HERE) -> str:
        with pytest.raises(CodeRequired) as asked:
            self.accounts.login(name, PASSWORD, address)
        return asked.value.ticket

    def comes_in(self, code: str, address: str = HERE) -> str:
        return self.accounts.login_by_code(self.ticket(address=address), code, address)[1]

    def logins(self, user: User) -> int:
        return len(self.accounts.own.list(user, ""))

    def audit(self) -> list[tuple[str, str]]:
        lines = self.store.read(lambda t: t.audit.page(AuditFilter(), 100))
        return [(line.entry.action, line.entry.detail) for line in reversed(lines)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def ann(house: House) -> User:
    made = house.user()
    house.turns_on(made)
    return house.accounts.user(made.id)


def test_a_password_alone_opens_nothing(house: House, ann: User) -> None:
    ticket = house.ticket()
    assert house.logins(ann) == 0
    user, sid = house.accounts.login_by_code(ticket, house.code(), HERE)
    assert user.second_factor
    assert house.accounts.who(sid) == user
    assert ("login", "") in house.audit()


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_code_of_the_steps_around_now_is_taken_once(house: House, ann: User, steps: int) -> None:
    code = house.code(steps)
    house.comes_in(code)
    for _ in range(2):
        with pytest.raises(NotAuthenticated) as refusal:
            house.comes_in(code)
        assert refusal.value.reason == "code"
        house.now += STEP


@pytest.mark.parametrize("steps", [-2, 2])
def test_no_code_of_another_time_is_taken(house: House, ann: User, steps: int) -> None:
    with pytest.raises(NotAuthenticated):
        house.comes_in(house.code(steps))


def test_an_earlier_code_than_the_last_is_not_taken(house: House, ann: User) -> None:
    house.comes_in(house.code(1))
    with pytest.raises(NotAuthenticated):
        house.comes_in(house.code())
    house.now += 2 * STEP
    house.comes_in(house.code())


def test_the_code_of_the_setup_opens_no_login(house: House) -> None:
    made = house.user()
    house.turns_on(made)
    house.now -= 2 * STEP
    with pytest.raises(NotAuthenticated):
        house.comes_in(house.code())


def test_one_code_sent_twice_at_once_opens_one_login(house: House, ann: User) -> None:
    tickets = [house.ticket(address=f"192.0.2.{number}") for number in range(2, 10)]
    code, ready, opened = house.code(), threading.Barrier(len(tickets)), list[str]()

    def answer(number: int, ticket: str) -> None:
        ready.wait()
        with contextlib.suppress(NotAuthenticated):
            opened.append(house.accounts.login_by_code(ticket, code, f"192.0.2.{number}")[1])

    threads = [threading.Thread(target=answer, args=(n, t)) for n, t in enumerate(tickets, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1
    assert house.logins(ann) == 1


def test_codes_are_taken_as_people_type_them(house: House, ann: User) -> None:
    code = house.code()
    wide = "".join(chr(ord(sign) + 0xFEE0) for sign in code)
    house.comes_in(f" {wide[:3]} {wide[3:]} ")
    assert codes.code_in("12345") is codes.code_in("1234567") is codes.code_in("١٢٣٤٥x") is None


# Half-way.


def _changes_password(house: House, ann: User) -> None:
    house.accounts.reset_password(house.admin, ann.id, "quite another one")


def _is_disabled(house: House, ann: User) -> None:
    house.accounts.update_user(house.admin, ann.id, is_active=False)


def _is_deleted(house: House, ann: User) -> None:
    house.accounts.delete_user(house.admin, ann.id)


def _is_reset(house: House, ann: User) -> None:
    house.factors.reset(OPERATOR, ann.id)


def _waits(house: House, ann: User) -> None:
    house.up += HALF_WAY_S


ENDS = (_changes_password, _is_disabled, _is_deleted, _is_reset, _waits)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__.strip("_"))
def test_what_ends_the_half_way_state(
    house: House, ann: User, end: Callable[[House, User], None]
) -> None:
    ticket = house.ticket()
    end(house, ann)
    with pytest.raises(NotAuthenticated) as refusal:
        house.accounts.login_by_code(ticket, house.code(), HERE)
    assert refusal.value.reason == "code_late"
    assert not house.factors.is_half_way(ticket)


def test_a_ticket_is_good_for_one_login_and_a_made_up_one_for_none(house: House, ann: User) -> None:
    ticket = house.ticket()
    house.accounts.login_by_code(ticket, house.code(), HERE)
    house.now += STEP
    for one in (ticket, "", "made up"):
        with pytest.raises(NotAuthenticated) as refusal:
            house.accounts.login_by_code(one, house.code(), HERE)
        assert refusal.value.reason == "code_late"


def test_a_wrong_code_leaves_time_for_the_right_one(house: House, ann: User) -> None:
    ticket = house.ticket()
    with pytest.raises(NotAuthenticated):
        house.accounts.login_by_code(ticket, WRONG, HERE)
    house.up += HALF_WAY_S - 1
    house.accounts.login_by_code(ticket, house.code(), HERE)


def test_the_printed_first_password_must_still_be_changed(house: House) -> None:
    house.factors.begin(house.admin, "admin123", "s")
    setup = house.factors.setup(house.admin, "s")
    assert setup is not None
    house.secret = setup.secret
    house.factors.confirm(house.admin, house.code(), "s")
    stored = credentials.hash_password("admin123")
    house.store.write(lambda t: t.users.set_password(house.admin.id, stored, must_change=False))
    house.now += STEP
    with pytest.raises(CodeRequired) as asked:
        house.accounts.login("admin", "admin123", NEAR)
    user, _ = house.accounts.login_by_code(asked.value.ticket, house.code(), NEAR)
    assert user.must_change_password


# Guessing.


def test_wrong_codes_count_with_wrong_passwords(
    house: House, ann: User, caplog: pytest.LogCaptureFixture
) -> None:
    ticket = house.ticket()
    with caplog.at_level(logging.WARNING, "manager.doorkeeper"):
        for _ in range(PER_PAIR.amount - 1):
            with pytest.raises(NotAuthenticated):
                house.accounts.login_by_code(ticket, WRONG, HERE)
        with pytest.raises(TooManyAttempts) as refusal:
            house.accounts.login_by_code(ticket, house.code(), HERE)
    assert 0 < refusal.value.retry_after <= 60
    said = [record.getMessage() for record in caplog.records]
    assert said == [f"login refused from {HERE} (code)"] * 5 + [
        f"login refused from {HERE} (too often)"
    ]
    # With right and wrong passwords alike: who is throttled learns nothing from either.
    for password in (PASSWORD, "a wrong one"):
        with pytest.raises(TooManyAttempts):
            house.accounts.login("ann", password, HERE)
    assert [entry for entry in house.audit() if entry[0] == "login_failed"] == [
        ("login_failed", "code")
    ] * 5


def test_the_right_password_gives_no_new_tries_of_codes(house: House, ann: User) -> None:
    with pytest.raises(TooManyAttempts):
        for _ in range(PER_PAIR.amount):
            with pytest.raises(NotAuthenticated):
                house.comes_in(WRONG)


def test_who_came_in_has_his_tries_again(house: House, ann: User) -> None:
    for _ in range(PER_PAIR.amount):
        house.comes_in(house.code())
        house.now += STEP


def tries(throttled: Throttle, address: str, *, known: bool = False) -> int:
    """Count how many codes somebody may try before he is told to wait."""
    for number in range(1000):
        try:
            throttled.attempt_code("ann", address, known=known)
        except TooManyAttempts as error:  # noqa: PERF203 - it ends the loop
            assert 60 < error.retry_after <= CODES_PER_NAME.get_expiry()
            return number
    raise AssertionError("never")


def test_codes_have_limits_of_their_own_over_hours() -> None:
    throttled = Throttle()
    assert tries(throttled, HERE, known=True) == CODES_PER_PAIR.amount
    spread = sum(tries(throttled, f"10.0.0.{number}") for number in range(20))
    assert spread == CODES_PER_NAME.amount
    assert tries(throttled, THERE, known=True) == CODES_PER_PAIR.amount, "where he has been before"
    throttled.code_succeeded("ann", THERE)
    assert tries(throttled, THERE, known=True) == CODES_PER_PAIR.amount


def test_a_recovery_code_passes_the_limit_of_codes(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = house.turns_on(house.user())
    monkeypatch.setattr(throttle, "CODES_PER_PAIR", RateLimitItemPerHour(1))
    with pytest.raises(NotAuthenticated):
        house.comes_in(WRONG)
    with pytest.raises(TooManyAttempts) as refusal:
        house.comes_in(house.code())
    assert refusal.value.retry_after > 60
    house.comes_in(made[0])


# Recovery codes.


def test_each_recovery_code_works_once(house: House) -> None:
    ann = house.user()
    made = house.turns_on(ann)
    assert len(set(made)) == codes.RECOVERY_CODES
    house.comes_in(made[3])
    house.comes_in(made[4].upper().replace("-", " "))
    for used in made[3:5]:
        with pytest.raises(NotAuthenticated):
            house.comes_in(used)
    assert house.factors.status(ann) == (NOW, 8)
    used_up = [entry for entry in house.audit() if entry[0] == "recovery_code_used"]
    assert used_up == [("recovery_code_used", "left=9"), ("recovery_code_used", "left=8")]


def test_nobody_elses_recovery_code_works(house: House, ann: User) -> None:
    other = house.turns_on(house.user("bob"))
    with pytest.raises(NotAuthenticated):
        house.comes_in(other[0])
    hashes = {codes.hash_of_recovery(KEY, user_id, other[0]) for user_id in (1, 2)}
    assert len(hashes) == 2, "nor where its row is given to another account"


def test_new_recovery_codes_end_the_old_ones(house: House) -> None:
    ann = house.user()
    old = house.turns_on(ann)
    ann = house.accounts.user(ann.id)
    new = house.factors.renew(ann, PASSWORD, house.code())
    assert house.factors.status(ann) == (NOW, 10)
    with pytest.raises(NotAuthenticated):
        house.comes_in(old[0])
    house.comes_in(new[0])
    assert ("recovery_codes_made", "") in house.audit()


# On and off.


def test_nothing_is_in_force_before_the_first_code(house: House) -> None:
    ann = house.user()
    with pytest.raises(NotAuthenticated):
        house.factors.begin(ann, "a wrong one", "s")
    assert house.factors.setup(ann, "s") is None
    house.factors.begin(ann, PASSWORD, "s")
    assert house.factors.setup(ann, "of another login") is None
    assert house.factors.setup(house.admin, "s") is None
    with pytest.raises(BadInput) as refusal:
        house.factors.confirm(ann, WRONG, "s")
    assert refusal.value.reason == "code"
    house.accounts.login("ann", PASSWORD, HERE)
    house.factors.cancel("s")
    with pytest.raises(NotFound):
        house.factors.confirm(ann, WRONG, "s")
    assert house.factors.status(ann) is None


def test_a_setup_waits_a_while_and_tells_of_a_wrong_clock(house: House) -> None:
    ann = house.user()
    house.factors.begin(ann, PASSWORD, "s")
    setup = house.factors.setup(ann, "s")
    assert setup is not None
    house.secret = setup.secret
    for steps in (-40, 40):
        with pytest.raises(BadInput) as refusal:
            house.factors.confirm(ann, house.code(steps), "s")
        assert (refusal.value.reason, refusal.value.params["minutes"]) == ("code_clock", 20)
    house.up += SETUP_S
    with pytest.raises(NotFound):
        house.factors.confirm(ann, house.code(), "s")


def test_turning_on_ends_logins_made_without_it_and_no_token(house: House) -> None:
    ann = house.user()
    _, here = house.accounts.login("ann", PASSWORD, HERE)
    _, elsewhere = house.accounts.login("ann", PASSWORD, THERE)
    hashed = "h" * 64
    house.store.write(lambda t: t.api_tokens.add(ann.id, hashed, "cmm_", "n", "use", NOW, NOW * 2))
    house.turns_on(ann, here)
    assert house.accounts.who(elsewhere) is None
    assert house.accounts.who(here) is not None
    bearer = house.store.read(lambda t: t.api_tokens.find(hashed))
    assert bearer is not None
    assert bearer.user.second_factor
    assert house.accounts.own.owners({here})[here].second_factor


def test_a_second_one_is_not_put_in_the_place_of_the_first(house: House) -> None:
    ann = house.user()
    for sid in ("one", "two"):
        house.factors.begin(ann, PASSWORD, sid)
    setups = {sid: house.factors.setup(ann, sid) for sid in ("one", "two")}
    for sid, expected in (("one", None), ("two", "second_factor_on")):
        setup = setups[sid]
        assert setup is not None
        house.secret = setup.secret
        if expected is None:
            house.factors.confirm(ann, house.code(), sid)
            continue
        with pytest.raises(Conflict) as refusal:
            house.factors.confirm(ann, house.code(), sid)
        assert refusal.value.reason == expected
    with pytest.raises(Conflict):
        house.factors.begin(house.accounts.user(ann.id), PASSWORD, "three")


def test_turning_off_takes_password_and_code(house: House, ann: User) -> None:
    for password, code in (("a wrong one", house.code()), (PASSWORD, WRONG)):
        with pytest.raises(NotAuthenticated):
            house.factors.turn_off(ann, password, code)
    house.factors.turn_off(ann, PASSWORD, house.code())
    assert house.factors.status(ann) is None
    house.accounts.login("ann", PASSWORD, HERE)
    assert ("second_factor_off", "") in house.audit()
    left = house.store.read(lambda t: t.second_factors.recovery_codes_left(ann.id))
    assert left == 0


def test_who_has_a_login_and_the_password_cannot_guess_it_off(house: House, ann: User) -> None:
    with pytest.raises(TooManyAttempts) as refusal:
        for _ in range(1000):
            with pytest.raises(NotAuthenticated):
                house.factors.turn_off(ann, PASSWORD, WRONG)
    assert refusal.value.retry_after > 60


def test_others_reset_it_nobody_his_own(house: House, ann: User) -> None:
    with pytest.raises(Conflict) as refusal:
        house.factors.reset(ann, ann.id)
    assert refusal.value.reason == "yourself"
    assert not house.factors.reset(house.admin, ann.id).second_factor
    house.accounts.login("ann", PASSWORD, HERE)
    with pytest.raises(Conflict):
        house.factors.reset(OPERATOR, ann.id)
    with pytest.raises(NotFound):
        house.factors.reset(OPERATOR, 999)
    assert [entry for entry in house.audit() if entry[0] == "second_factor_reset"] == [
        ("second_factor_reset", "")
    ]


def test_it_goes_with_its_account(house: House, ann: User) -> None:
    house.accounts.delete_user(house.admin, ann.id)
    assert house.store.read(lambda t: t.second_factors.get(ann.id)) is None
    assert house.store.read(lambda t: t.second_factors.recovery_codes_left(ann.id)) == 0


# Rights.


@pytest.mark.parametrize("required", ["optional", "required"])
def test_where_it_is_required_an_admin_without_it_is_none(tmp_path: Path, required: str) -> None:
    house = House(tmp_path, ADMIN_SECOND_FACTOR=required, ADMIN_NETWORKS="192.0.2.0/24")
    boss, ann = house.user("boss", admin=True), house.user()
    held_up = required == "required"
    assert house.accounts.at(boss, HERE).is_admin is not held_up
    assert house.accounts.at(boss, HERE).must_set_second_factor is held_up
    elsewhere = house.accounts.at(boss, THERE)
    assert (elsewhere.is_admin, elsewhere.must_set_second_factor) == (False, False)
    assert house.accounts.at(ann, HERE) == ann
    house.turns_on(boss)
    boss = house.accounts.user(boss.id)
    assert house.accounts.at(boss, HERE) == boss
    assert not house.accounts.at(boss, THERE).is_admin
    house.store.close()


# At rest.


def test_neither_secret_nor_recovery_code_is_in_the_database(house: House) -> None:
    made = house.turns_on(house.user())
    seed = house.store.read(lambda t: t.second_factors.get(2))
    assert seed is not None
    assert seed.seed not in repr(seed)
    house.store.close()
    kept = b"".join(path.read_bytes() for path in house.path.parent.glob("db*"))
    plain = [house.secret, house.code(), *made, *(one.replace("-", "") for one in made)]
    assert seed.seed.encode() in kept
    assert [one for one in plain if one.encode() in kept] == []
    assert codes.secret_of(b"x" * 32, seed.seed) != house.secret


@pytest.mark.parametrize("key", [b"", b"another key of thirty-two bytes!"])
def test_under_another_key_no_code_is_right_and_the_page_says_why(
    house: House, ann: User, key: bytes
) -> None:
    other = SecondFactors(house.store, house.accounts._door, key, lambda: house.now)
    house.accounts.second_factor = other
    ticket = house.ticket()
    with pytest.raises(Conflict) as refusal:
        house.accounts.login_by_code(ticket, house.code(), HERE)
    assert refusal.value.reason == "second_factor_key"
    other.reset(house.admin, ann.id)
    house.accounts.login("ann", PASSWORD, THERE)


def test_a_backup_keeps_it_in_force(house: House, ann: User, tmp_path: Path) -> None:
    copy = tmp_path / "restored"
    copy.mkdir()
    copies.copy(house.path, copy / "db", NOW)
    copies.make_fit(copy / "db", NOW, 0, "test")
    restored = House(copy)
    restored.secret, restored.now = house.secret, house.now
    restored.comes_in(restored.code())
    restored.store.close()


def test_what_is_kept_for_a_while_is_forgotten_and_bounded() -> None:
    now = [0.0]
    kept: ShortMemory[int] = ShortMemory(10.0, lambda: now[0])
    for number in range(MOST + 1):
        kept.put(str(number), number)
    assert (kept.get("0"), kept.get("1"), kept.take("2"), kept.take("2")) == (None, 1, 2, None)
    now[0] = 10.0
    assert (kept.get("1"), kept.take("3")) == (None, None)


def test_every_refusal_has_its_sentence(house: House, ann: User) -> None:
    errors: list[ManagerError] = [
        Conflict("", reason="second_factor_key"),
        NotAuthenticated("", reason="code"),
        BadInput("", reason="code_clock", minutes=3),
        CodeRequired("", ticket="SECRET"),
    ]
    for error in errors:
        for language in i18n.LANGUAGES:
            text = i18n.error_text(error, language)
            assert text
            assert "SECRET" not in text
