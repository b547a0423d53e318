"""Passwords that are tried first are refused on every road on which a password comes in."""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from werkzeug.security import generate_password_hash

from manager import credentials, easy_passwords, roster, settings
from manager.accounts import Accounts
from manager.errors import BadInput
from manager.people import Newcomer
from manager.records import OPERATOR
from manager.store import Store

WORDS = easy_passwords.house_words("bob.smith", "gpu.example.org")
GOOD = "correct horse battery"
EASY = "Passw0rd2024!"


@pytest.fixture
def accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Accounts]:
    monkeypatch.setattr(
        credentials,
        "hash_password",
        lambda password: generate_password_hash(password, "pbkdf2:sha256:1"),
    )
    monkeypatch.setenv("EXTERNAL_IP", "gpu.example.org")
    store = Store(tmp_path / "manager.db", 1)
    made = Accounts(settings.load(root=tmp_path), store)
    made.ensure_admin()
    yield made
    store.close()


@pytest.mark.parametrize(
    "password",
    [
        *("password1", "12345678", "iloveyou", "qwertyuiop", "PASSWORD1", "trustno1"),
        # In disguise, and with what people add.
        *("P@ssw0rd", "Passw0rd2024!", "dragon1986", "!!dragon!!", "dragon123456", "m0nkey99"),
        *("aaaaaaaa", "abcabcabc", "12341234", "dragondragon"),
        # Words of the house.
        *("comfyui1", "ComfyUI@2024", "comfyui-manager", "c0mfyu1-99"),
        *("bob.smith", "smith2024", "Bob-Smith-1", "gpu.example", "example1!"),
    ],
)
def test_what_is_tried_first_is_easy(password: str) -> None:
    assert easy_passwords.is_easy(password, WORDS)


@pytest.mark.parametrize(
    "password",
    [
        *(GOOD, "correct horse battery staple", "a good password", "bob's own long secret"),
        *("Tr0ub4dor&3", "xK9#mQ2v", "张伟喜欢画画很多年", "dragon83619274", "bobsleigh-rust"),
    ],
)
def test_what_nobody_tries_first_is_not(password: str) -> None:
    assert not easy_passwords.is_easy(password, WORDS)


def test_the_machine_s_own_name_is_easy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Atlas800-lab")
    words = easy_passwords.house_words("bob")
    assert easy_passwords.is_easy("atlas800!!", words)
    assert easy_passwords.is_easy("lab-atlas800", words)


def test_enough_of_the_listed_passwords_are_long_enough_to_be_chosen() -> None:
    low, _high = credentials.PASSWORD_LENGTH
    # ASVS 5.0.0, 6.2.4: at least 3000 of those that the rules would allow.
    assert sum(len(one) >= low for one in easy_passwords.common()) >= 3000


def test_no_password_that_is_made_here_is_easy(monkeypatch: pytest.MonkeyPatch) -> None:
    letters = iter("passwordpasswo" + "xK9mQ2vTr4bdaE")
    monkeypatch.setattr(secrets, "choice", lambda _letters: next(letters))
    monkeypatch.setattr(easy_passwords, "is_easy", lambda made, _words: made.startswith("pass"))
    assert credentials.new_password() == "xK9mQ2vTr4bdaE"


ROADS: dict[str, Callable[[Accounts], object]] = {
    "an admin makes an account": lambda a: a.create_user(OPERATOR, "ann", EASY),
    "an admin makes some": lambda a: a.people.create(OPERATOR, [Newcomer("ann", EASY)]),
    "the operator sets another": lambda a: a.reset_password(OPERATOR, a.users()[0].id, EASY),
    "its owner changes it": lambda a: a.change_password(
        a.users()[0], credentials.FIRST_ADMIN[1], EASY, keep_sid="s"
    ),
    "a table": lambda a: roster.read(f"username,password\nann,{EASY}\n"),
}


@pytest.mark.parametrize("road", ROADS)
def test_no_road_takes_an_easy_one(accounts: Accounts, road: str) -> None:
    with pytest.raises(BadInput, match="tried first"):
        ROADS[road](accounts)
    assert [user.username for user in accounts.users()] == ["admin"]
    assert accounts.login("admin", credentials.FIRST_ADMIN[1], "127.0.0.1")


def test_the_server_s_name_is_known_on_every_road(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    for road in (
        lambda: accounts.create_user(OPERATOR, "ann", "gpuexample"),
        lambda: accounts.reset_password(OPERATOR, accounts.users()[0].id, "gpuexample"),
        lambda: roster.read("username,password\nann,gpuexample\n", "gpu.example.org"),
    ):
        with pytest.raises(BadInput, match="tried first"):
            road()


def test_no_password_however_made_takes_long() -> None:
    """What is sent is bounded before it is looked at, and no look grows faster than its length."""
    with pytest.raises(BadInput) as refusal:
        credentials.check_password("bob", "4@8({[<369&#!1/|0$5+7%2" * 1000)
    assert refusal.value.key == "bad_input.password"
    easy_passwords.common()
    steps = 0

    def count(*_what: object) -> None:
        nonlocal steps
        steps += 1

    longest = ("4@8({[<369&#!1/|0$5+7%2" * 12)[: credentials.PASSWORD_LENGTH[1]]
    sys.setprofile(count)
    try:
        easy_passwords.is_easy(longest, WORDS)
    finally:
        sys.setprofile(None)
    # Calls, not seconds: a machine may be busy. zxcvbn's own estimate makes millions.
    assert steps < 2000
