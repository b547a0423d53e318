"""The operator's commands about accounts: ``users create|list|disable|enable|…``.

They work on the database itself, whether a manager runs on it or not; one that runs puts a change
into force within a second. A password is never an argument: other accounts can read those.
"""

from __future__ import annotations

import argparse
import csv
import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from manager import roster
from manager.accounts import UNCHANGED, Accounts
from manager.beside import opened_store
from manager.cli_first_admin import say_made
from manager.credentials import new_password
from manager.errors import BadInput, NotFound
from manager.records import OPERATOR, User
from manager.settings import Settings

ANY_PORT = "any"


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach a parser the command ``users`` and what is below it."""
    users = commands.add_parser("users", help="accounts, also while nobody can log in")
    below = users.add_subparsers(dest="act", required=True)
    listed = below.add_parser("list", help="list the accounts")
    listed.add_argument("--json", action="store_true", help="for programs")
    listed.set_defaults(run=list_users)
    create = below.add_parser("create", help="make an account")
    create.add_argument("username")
    create.add_argument("--admin", action="store_true", help="with an admin's rights")
    create.add_argument("--port", default=ANY_PORT, help="its ComfyUI port; any if left out")
    _take_password(create)
    create.set_defaults(run=create_user)
    for word, active in (("disable", False), ("enable", True)):
        change = below.add_parser(word, help=f"{word} an account")
        change.add_argument("username")
        change.set_defaults(run=set_active, active=active)
    reset = below.add_parser("reset-password", help="give an account another password")
    reset.add_argument("username")
    _take_password(reset)
    reset.set_defaults(run=reset_password)
    factor = below.add_parser("reset-second-factor", help="log in with the password alone again")
    factor.add_argument("username")
    factor.set_defaults(run=reset_second_factor)
    taken = below.add_parser("import", help="make accounts from a CSV table")
    taken.add_argument("file", help="the table; - for standard input")
    taken.add_argument("--update", action="store_true", help="change accounts that are there")
    taken.set_defaults(run=import_users)
    given = below.add_parser("export", help="write the accounts as a CSV table, no passwords")
    given.add_argument("file", nargs="?", default="-", help="a new file; standard output else")
    given.set_defaults(run=export_users)


def _take_password(parser: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--ask", action="store_true", help="ask for the password, twice")
    how.add_argument(
        "--password-stdin", action="store_true", help="read the password from standard input"
    )


@contextmanager
def opened(settings: Settings) -> Iterator[Accounts]:
    """Open the accounts, beside a manager or alone.

    Raises:
        Conflict: a manager runs whose version has another schema.
        StoreFailed: the database cannot be used.
    """
    with opened_store(settings) as store:
        accounts = Accounts(settings, store)
        accounts.ensure_admin(say_made)
        yield accounts


def list_users(settings: Settings, given: argparse.Namespace) -> int:
    """Print the accounts."""
    with opened(settings) as accounts:
        users = accounts.users()
    if given.json:
        print(json.dumps([_told(user) for user in users], ensure_ascii=False))
        return 0
    width = max(len("name"), *(len(user.username) for user in users))
    print(f"{'id':>5}  {'name':<{width}}  {'role':<5}  {'port':<5}  state")
    for user in users:
        role, port = "admin" if user.is_admin else "user", user.assigned_port or ANY_PORT
        print(f"{user.id:>5}  {user.username:<{width}}  {role:<5}  {port:<5}  {_state(user)}")
    return 0


def _told(user: User) -> dict[str, object]:
    # What depends on where somebody is, nobody here can know.
    return {k: v for k, v in asdict(user).items() if k != "must_set_second_factor"}


def _state(user: User) -> str:
    factor = ", second factor" if user.second_factor else ""
    if not user.is_active:
        return f"disabled{factor}"
    return f"{'must change the password' if user.must_change_password else 'active'}{factor}"


def create_user(settings: Settings, given: argparse.Namespace) -> int:
    """Make an account and say its password if that was made here."""
    said = _password(given)
    password = said or new_password()
    with opened(settings) as accounts:
        user = accounts.create_user(
            OPERATOR,
            given.username,
            password,
            is_admin=given.admin,
            assigned_port=_port(given.port),
        )
    print(f"{user.username}: made; a new password is asked for at the first login")
    if said is None:
        print(f"password: {password}")
    return 0


def _port(word: str) -> int | None:
    if word == ANY_PORT:
        return None
    if not (word.isascii() and word.isdigit()):
        raise BadInput(f"--port is a number or {ANY_PORT}, not {word}")
    return int(word)


def set_active(settings: Settings, given: argparse.Namespace) -> int:
    """Disable or enable an account; its sessions and instance end when it is disabled."""
    with opened(settings) as accounts:
        user = accounts.update_user(
            OPERATOR,
            _found(accounts, given.username).id,
            is_active=given.active,
            assigned_port=UNCHANGED,
        )
    print(f"{user.username}: {'enabled' if user.is_active else 'disabled; its sessions are ended'}")
    return 0


def reset_password(settings: Settings, given: argparse.Namespace) -> int:
    """Give an account another password and say it if it was made here."""
    said = _password(given)
    with opened(settings) as accounts:
        user = _found(accounts, given.username)
        password = accounts.reset_password(OPERATOR, user.id, said)
    print(f"{user.username}: has another password, to be changed at the next login")
    if said is None:
        print(f"password: {password}")
    if not user.is_active:
        print(f"{user.username} is disabled: ./start_manager.sh users enable {user.username}")
    return 0


def reset_second_factor(settings: Settings, given: argparse.Namespace) -> int:
    """Take an account's second factor off, whose owner has lost phone and recovery codes."""
    with opened(settings) as accounts:
        user = accounts.second_factor.reset(OPERATOR, _found(accounts, given.username).id)
    print(f"{user.username}: logs in with the password alone")
    return 0


def import_users(settings: Settings, given: argparse.Namespace) -> int:
    """Make the accounts of a table; passwords made here go to standard output, as CSV."""
    rows = roster.read(_text(given.file), settings.external_ip)
    ports = [row.port for row in settings.ports]
    made = csv.writer(sys.stdout)
    with opened(settings) as accounts:
        passwords = roster.bring_in(accounts, OPERATOR, rows, ports, update=given.update)
        for number, pair in enumerate(passwords):
            if number == 0:
                made.writerow(("username", "password"))
            made.writerow(pair)
            # Said as soon as it holds: should a later one fail, this one is not lost.
            sys.stdout.flush()
    print(f"{len(rows)} accounts: done", file=sys.stderr)
    return 0


def export_users(settings: Settings, given: argparse.Namespace) -> int:
    """Write the accounts as a table."""
    with opened(settings) as accounts:
        text = roster.write(accounts.users())
    if given.file == "-":
        print(text, end="")
        return 0
    try:
        with Path(given.file).open("x", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError as error:
        raise BadInput(f"{given.file} cannot be written: {error.strerror}") from error
    print(f"{given.file}: written")
    return 0


def _found(accounts: Accounts, username: str) -> User:
    for user in accounts.users():
        if user.username == username:
            return user
    raise NotFound(f"there is no user {username}; ./start_manager.sh users list shows them")


def _password(given: argparse.Namespace) -> str | None:
    """Give the password that was typed or piped in; None where one is to be made."""
    if given.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not given.ask:
        return None
    if not sys.stdin.isatty():
        raise BadInput("there is no terminal to ask at: use --password-stdin")
    password = getpass.getpass("New password: ")
    if getpass.getpass("Once more: ") != password:
        raise BadInput("these were two different passwords")
    return password


def _text(name: str) -> str:
    try:
        if name == "-":
            return sys.stdin.read()
        # newline="": the CSV reader wants the line ends as they are.
        with Path(name).open(encoding="utf-8-sig", newline="") as file:
            return file.read()
    except OSError as error:
        raise BadInput(f"{name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise BadInput(f"{name} is not UTF-8; save the table as «CSV UTF-8»") from None
