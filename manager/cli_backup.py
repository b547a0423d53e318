"""The operator's commands ``backup`` and ``restore``."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from manager.backup import make, restore
from manager.data_dir import hold, read_record
from manager.errors import BadInput, Conflict
from manager.records import OPERATOR
from manager.settings import Settings
from manager.status import report


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach a parser both."""
    backup = commands.add_parser("backup", help="make a backup, also while the manager runs")
    backup.add_argument(
        "where", nargs="?", type=Path, help="a new file or a folder; DATA_DIR/backups if left out"
    )
    backup.add_argument("--workspaces", action="store_true", help="with the users' files")
    backup.add_argument(
        "--keep", type=int, default=0, metavar="N", help="keep the newest N in that folder"
    )
    backup.set_defaults(run=make_backup)
    back = commands.add_parser("restore", help="put a backup back; only while nothing runs")
    back.add_argument("file", type=Path)
    back.add_argument(
        "--keep-settings", action="store_true", help="leave the backup's manager.toml out"
    )
    back.set_defaults(run=put_back)


def make_backup(settings: Settings, given: argparse.Namespace) -> int:
    """Make a backup and say where it is."""
    # What is half made is taken away again, as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    if given.keep < 0:
        raise BadInput("--keep is a number from 1 on")
    made = make.make(settings, given.where, workspaces=given.workspaces, keep=given.keep)
    print(f"{made.path}: {made.size} bytes")
    for path in made.removed:
        print(f"{path}: removed")
    for what in made.lacks:
        print(f"left out: {what}", file=sys.stderr)
    return 0


def put_back(settings: Settings, given: argparse.Namespace) -> int:
    """Put a backup back and say what was set aside."""
    with restore.unpacked(given.file, settings, keep_settings=given.keep_settings) as backup:
        target = backup.settings
        for folder in {settings.data_dir, target.data_dir}:
            if read_record(folder)[0] is not None:
                raise Conflict("the manager runs: ./start_manager.sh stop first")
        with hold(target.data_dir):
            done = restore.restore(backup, OPERATOR.username)
    for path in done.placed:
        print(f"{path}: restored")
    for path in done.aside:
        print(f"{path}: what was there before")
    if report(target)["caddy"]["running"]:
        print(
            "Caddy and perhaps users' ComfyUI still run. The next start closes their links and "
            "shows what lives to the admins; ./start_manager.sh stop ends it."
        )
    print("Everybody logs in anew after ./start_manager.sh start")
    return 0
