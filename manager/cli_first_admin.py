"""The operator's command ``first-admin``: make the first account, and say how to log in with it.

``start_manager.sh start`` runs it before the manager, in the foreground: so a password that is made
at random is seen by whoever starts it, and stands in no log.
"""

from __future__ import annotations

import argparse
import sys

from manager.accounts import Accounts
from manager.beside import opened_store
from manager.credentials import FIRST_ADMIN
from manager.setting_fields import FROM_FILE
from manager.settings import Settings

KNOWN = (
    f"The account {FIRST_ADMIN[0]} still has the password that everybody can read in the README: "
    "log in with it\nand choose another. Until then it is taken from this machine and private "
    "networks alone."
)


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach a parser the command."""
    first = commands.add_parser("first-admin", help="make the first account, if there is none")
    first.set_defaults(run=first_admin)


def first_admin(settings: Settings, _given: argparse.Namespace) -> int:
    """Make the first account where there is none; say how to log in, or what is still to do."""
    with opened_store(settings) as store:
        accounts = Accounts(settings, store)
        shown: list[str] = []
        if accounts.ensure_admin(shown.append):
            print(f"First login: {_how(settings, shown)}; a new password is asked for.")
        elif accounts.first_admin.is_known():
            print(KNOWN)
    return 0


def _how(settings: Settings, shown: list[str]) -> str:
    name = FIRST_ADMIN[0]
    if shown:
        return f"{name} / {shown[0]} (shown this once)"
    if settings.first_admin_password == FROM_FILE:
        return f"{name}, with the password in {settings.first_admin_password_file}"
    return f"{name} / {FIRST_ADMIN[1]}"


def say_made(password: str) -> None:
    """Say a password that another command had to make."""
    print(f"{FIRST_ADMIN[0]}: made; password: {password} (shown this once)", file=sys.stderr)
