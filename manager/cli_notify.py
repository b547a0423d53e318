"""The operator's command ``notify-test``: sends each webhook one message and says how it went."""

from __future__ import annotations

import argparse
import time

from manager.settings import Settings
from manager.web.i18n import translate
from manager.webhooks import hooks
from manager.webhooks.delivery import sending
from manager.webhooks.words import house, test_message

EXIT_FAILED = 1


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach a parser the command."""
    test = commands.add_parser("notify-test", help="send each webhook a message, now and once")
    test.add_argument("names", nargs="*", help="those of these names alone")
    test.set_defaults(run=notify)


def notify(settings: Settings, given: argparse.Namespace) -> int:
    """Send; exit code 1 when there is nobody to send to, or one did not take it."""
    found = hooks.read(settings)
    wanted = [one for one in found if not given.names or one.name in given.names]
    unknown = {*given.names} - {one.name for one in found}
    for name in sorted(unknown):
        print(f"{name}: there is no such webhook")
    if not found:
        print(f"{settings.webhooks_file}: there is no webhook in it; see docs/operations.md")
    where, send, failed = house(settings), sending(), bool(unknown)
    for one in wanted:
        problem = send(one, test_message(translate, where, one, time.time()))
        failed = failed or bool(problem)
        print(f"{one.name} ({one.kind}): {f'not taken: {problem}' if problem else 'taken'}")
    return EXIT_FAILED if failed or not wanted else 0
