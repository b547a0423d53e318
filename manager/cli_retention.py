"""The operator's command ``retention``: says what is too old, and with ``--apply`` takes it away.

Works beside a manager at work and without one.
"""

from __future__ import annotations

import argparse

from manager.beside import opened_store
from manager.errors import BadInput
from manager.records import OPERATOR
from manager.retention import KEEP_DAYS, Retention, Swept, said
from manager.settings import Settings

MIB = 1 << 20


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach a parser the command."""
    retention = commands.add_parser(
        "retention", help="old files in users' output and temp folders; without --apply only says"
    )
    retention.add_argument(
        "--apply",
        action="store_true",
        help=f"move them into the trash of the workspace, where they stay {KEEP_DAYS} days",
    )
    retention.add_argument(
        "--days", type=int, help="older than so many days; RETENTION_DAYS if left out"
    )
    retention.set_defaults(run=run)


def run(settings: Settings, given: argparse.Namespace) -> int:
    """Say what would go, or take it away."""
    older_than = settings.retention_days if given.days is None else given.days
    if older_than < 1:
        raise BadInput("RETENTION_DAYS is 0, files are kept for ever: name --days N to look")
    files = size = 0
    with opened_store(settings) as store:
        room = Retention(settings, store)
        for one in room.sweep(older_than, apply=given.apply, by=OPERATOR.username):
            files, size = files + one.files, size + one.bytes
            print(f"{one.user.username}: {_line(one)}")
    done = "moved into the trash" if given.apply else "would be moved; nothing was changed"
    print(f"older than {older_than} days: {files} files, {size / MIB:.1f} MiB {done}")
    return 0


def _line(one: Swept) -> str:
    return said(one) if one.skipped else f"{said(one)} ({one.bytes / MIB:.1f} MiB)"
