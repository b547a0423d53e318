"""The operator's commands; those about accounts stand in ``cli_users``.

Exit codes: 0 done or running, 1 failed, 2 a setting is wrong, 3 not running.
"""

from __future__ import annotations

import argparse
import json
import logging
import logging.handlers
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from manager import (
    cli_audit,
    cli_backup,
    cli_doctor,
    cli_first_admin,
    cli_install,
    cli_logs,
    cli_maintenance,
    cli_notify,
    cli_retention,
    cli_users,
    identity,
    log_lines,
    runtime,
)
from manager.bootstrap import Manager, build
from manager.data_dir import close_record, read_record, write_record
from manager.errors import DISK_ERRNOS, GateFailed, ManagerError, SettingsError, StoreFailed
from manager.gate.gate import Gate
from manager.gate.reload import reload
from manager.ports import write_ports
from manager.settings import Settings, names
from manager.status import report, report_lines
from manager.web.request_id import RequestIds
from manager.web.serve import serve
from manager.webhooks import hooks

logger = logging.getLogger(__name__)

EXIT_FAILED, EXIT_SETTINGS, EXIT_NOT_RUNNING = 1, 2, 3
MANAGER_END_S = 20.0
"""Time a manager has to end after SIGTERM before it is killed; it ends nobody's work either way."""

INSTANCES_END_S = 60.0
LOG_BYTES, LOG_FILES = 10 << 20, 5
STEP_S = 0.1


def main(settings: Settings, arguments: Sequence[str]) -> int:
    """Run one command and give its exit code."""
    given = _parser().parse_args(arguments)
    try:
        code: int = given.run(settings, given)
    except SettingsError as error:
        print(f"comfyui-manager: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    except ManagerError as error:
        print(f"comfyui-manager: {error}", file=sys.stderr)
        return EXIT_FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="comfyui_manager.py", description=__doc__)
    parser.set_defaults(run=lambda settings, _given: serve_until_told(settings))
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve in the foreground (the default)")
    stop = commands.add_parser("stop", help="end the manager, all instances and Caddy")
    stop.add_argument(
        "--keep-instances", action="store_true", help="leave instances and Caddy running"
    )
    stop.set_defaults(run=stop_all)
    status = commands.add_parser("status", help="say what runs")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(run=show_status)
    own_lines = commands.add_parser("reload", help="put your own lines of the Caddyfile into force")
    own_lines.set_defaults(run=reload_caddyfile)
    check = commands.add_parser("check", help="print the settings in force")
    check.set_defaults(run=show_settings)
    for room in (cli_users, cli_backup, cli_doctor, cli_logs, cli_install, cli_audit):
        room.add_commands(commands)
    for other in (cli_maintenance, cli_notify, cli_retention, cli_first_admin):
        other.add_commands(commands)
    return parser


def serve_until_told(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; instances and Caddy stay when it ends."""
    told = runtime.StopSignal()
    configure_logging(settings)
    manager = build(settings)
    try:
        manager.make_way()
        server = serve(manager)
        try:
            manager.run()
            write_record(settings.data_dir, server.url)
            logger.info("serving on %s, %s", server.url, "demo" if settings.demo else "ComfyUI")
            print(f"ComfyUI Multi-User Manager: {server.url}", flush=True)
            number = told.wait()
            logger.info("%s: ending; instances and their links stay", number.name)
        finally:
            server.stop()
    finally:
        manager.close()
    close_record(settings.data_dir)
    runtime.flush_standard_streams()
    return 0


def configure_logging(settings: Settings) -> None:
    """Write to the log file, one line an event, rotated, for this account alone.

    Raises:
        SettingsError: the file cannot be written.
        StoreFailed: not now, for the disk is full or read-only.
    """
    try:
        settings.log_path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            settings.log_path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
        )
        settings.log_path.chmod(0o600)
    except OSError as error:
        kind = StoreFailed if error.errno in DISK_ERRNOS else SettingsError
        raise kind(f"LOG_PATH = {settings.log_path} cannot be written: {error.strerror}") from error
    handler.setFormatter(log_lines.formatter(settings.log_format))
    handler.addFilter(RequestIds())
    logging.getLogger("manager").setLevel(logging.INFO)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def stop_all(settings: Settings, given: argparse.Namespace) -> int:
    """End a running manager; then, unless kept, every instance and Caddy."""
    found, _address = read_record(settings.data_dir)
    if found and not _end_manager(found):
        print("the manager does not end; see manager.log", file=sys.stderr)
        return EXIT_FAILED
    print("manager: stopped" if found else "manager: was not running")
    if given.keep_instances:
        print("instances and Caddy: left running; the next start finds them again")
        return 0
    if not settings.database_path.exists():
        return 0
    return 0 if _end_instances(settings) else EXIT_FAILED


def _end_manager(found: identity.Identity) -> bool:
    for number in (signal.SIGTERM, signal.SIGKILL):
        identity.send(found, number)
        if _within(MANAGER_END_S, lambda: not identity.alive(found)):
            return True
    return False


def _end_instances(settings: Settings) -> bool:
    manager = build(settings, starts=False)
    enough = threading.Event()
    watching = threading.Thread(target=manager.watch.run, args=(enough,), daemon=True)
    try:
        for row in manager.lifecycle.holding():
            print(f"port {row.port}: ending {row.username}'s ComfyUI")
        manager.lifecycle.stop_all()
        for one in manager.lifecycle.leftovers.all():
            print(f"launch {one.launch_id}: ending what the database does not know")
            manager.lifecycle.leftovers.end(one.launch_id)
        # Caddy first: where none runs every gate is closed, whatever its file looks like.
        _end_caddy(manager.gate)
        watching.start()
        ended = _within(INSTANCES_END_S, lambda: _nobody_left(manager))
        left = manager.lifecycle.holding()
        enough.set()
        manager.lifecycle.wake()
        watching.join()
    finally:
        manager.close()
    for row in left:
        print(f"port {row.port}: {row.username}'s ComfyUI does not end", file=sys.stderr)
    print("instances and Caddy: stopped" if ended else "Caddy: stopped")
    return ended


def _nobody_left(manager: Manager) -> bool:
    return not manager.lifecycle.holding() and not manager.lifecycle.leftovers.all()


def _end_caddy(gate: Gate) -> None:
    try:
        gate.stop()
    except GateFailed as error:
        print(f"Caddy has ended, but its file could not be tidied: {error}", file=sys.stderr)


def _within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP_S)
    return True


def show_status(settings: Settings, given: argparse.Namespace) -> int:
    """Print what runs."""
    found = report(settings)
    if given.json:
        print(json.dumps(found))
    else:
        print("\n".join(report_lines(found)))
    return 0 if found["manager"]["running"] else EXIT_NOT_RUNNING


def reload_caddyfile(settings: Settings, _given: argparse.Namespace) -> int:
    """Have Caddy take the operator's own lines."""
    reload(settings)
    print(f"{settings.caddyfile}: in force")
    return 0


def show_settings(settings: Settings, _given: argparse.Namespace) -> int:
    """Print the settings in force, one a line, as the environment would take them."""
    # Said before a start, not after: nobody likes to learn it from a log.
    hooks.read(settings)
    for name in names():
        value = getattr(settings, name.lower())
        if name == "PORTS":
            value = write_ports(value)
        elif isinstance(value, tuple):
            paths = all(isinstance(word, Path) for word in value)
            value = os.pathsep.join(map(str, value)) if paths else shlex.join(value)
        print(f"{name} = {value}")
    return 0
