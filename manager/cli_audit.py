"""The operator's command ``audit``: is it whole, and give it to me. A manager may be running."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TypeAlias

from manager.settings import Settings
from manager.store import peek_audit, verify_audit

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

MOST = 1_000_000
EXIT_BROKEN = 1


def add_commands(commands: Commands) -> None:
    """Teach the command line the command."""
    audit = commands.add_parser("audit", help="check that the audit is whole (exit code 1 if not)")
    audit.add_argument(
        "--lines", action="store_true", help="print it instead, as a line of JSON each"
    )
    audit.set_defaults(run=run)


def run(settings: Settings, given: argparse.Namespace) -> int:
    """Check or print the audit and give the exit code."""
    if given.lines:
        return _print(settings)
    check = verify_audit(settings.database_path)
    if check is None:
        return _unreadable(settings)
    if check.broken is not None:
        print(f"the audit is not as it was written: line {check.broken} does not fit")
        return EXIT_BROKEN
    print(f"the audit is whole: {check.lines} lines, the last one's hash is {check.head}")
    return 0


def _print(settings: Settings) -> int:
    found = peek_audit(settings.database_path, MOST)
    if found is None:
        return _unreadable(settings)
    for line in found:
        entry = {"id": line.id, **vars(line.entry), "hash": line.hash}
        print(json.dumps(entry, ensure_ascii=False))
    return 0


def _unreadable(settings: Settings) -> int:
    print(
        f"comfyui-manager: {settings.database_path} cannot be read, or is of another version; "
        "start the manager once",
        file=sys.stderr,
    )
    return EXIT_BROKEN
