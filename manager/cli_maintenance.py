"""The command ``maintenance``: start nothing any more, say how far the house is, start again.

Works beside a manager at work, which puts it into force within a second, and without one.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import re

from manager.beside import opened_store
from manager.errors import BadInput
from manager.lifecycle.maintenance import Switch
from manager.records import OPERATOR
from manager.settings import Settings
from manager.status import maintenance_lines, maintenance_report

CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach a parser the command ``maintenance`` and what is below it."""
    maintenance = commands.add_parser("maintenance", help="start nothing any more; what runs stays")
    below = maintenance.add_subparsers(dest="act", required=True)
    on = below.add_parser("on", help="give out no card; running ComfyUI work on to their end")
    on.add_argument("--reason", default="", help="one line that users read")
    on.add_argument(
        "--until",
        metavar="TIME",
        help="what is planned: HH:MM or 'YYYY-MM-DD HH:MM', this server's time; ends nothing",
    )
    on.set_defaults(run=begin)
    off = below.add_parser("off", help="give out cards again; the line goes on in its order")
    off.set_defaults(run=end)
    status = below.add_parser("status", help="whether it is on, and who still works")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=show)


def begin(settings: Settings, given: argparse.Namespace) -> int:
    """Begin maintenance, or say anew why and until when."""
    until = None if given.until is None else moment(given.until, dt.datetime.now().astimezone())
    with opened_store(settings) as store:
        Switch(store).begin(given.reason, until, by=OPERATOR)
    return show(settings, argparse.Namespace(json=False))


def end(settings: Settings, _given: argparse.Namespace) -> int:
    """End maintenance."""
    with opened_store(settings) as store:
        Switch(store).end(by=OPERATOR)
    print("maintenance: off; whoever waits is served in order")
    return 0


def show(settings: Settings, given: argparse.Namespace) -> int:
    """Say how far the house is."""
    found = maintenance_report(settings)
    if given.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print("\n".join(maintenance_lines(found) or ["maintenance: off"]))
    return 0


def moment(word: str, now: dt.datetime) -> float:
    """Read a time of this server's zone, or of the one that is named in it.

    Args:
        word: ``HH:MM``, the next time it is that; or a date and a time as ISO 8601 writes them.
        now: with its zone.

    Raises:
        BadInput: it is neither.
    """
    found = CLOCK.fullmatch(word.strip())
    if found:
        at = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        return (at if at > now else at + dt.timedelta(days=1)).timestamp()
    try:
        return dt.datetime.fromisoformat(word.strip()).astimezone().timestamp()
    except ValueError:
        raise BadInput(f"--until is HH:MM or YYYY-MM-DD HH:MM, not {word}") from None
