"""The command ``logs``: the manager's log, one port's lines of it, or one user's ComfyUI."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from manager.errors import NotFound
from manager.settings import Settings
from manager.store import newest_launch

LOOK_EVERY_S = 0.3
LINES = 100

Wanted = Callable[[str], bool]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Teach a parser the command."""
    logs = commands.add_parser("logs", help="read the log")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until Ctrl-C")
    logs.add_argument("-n", "--lines", type=int, default=LINES, help="how many; %(default)s")
    which = logs.add_mutually_exclusive_group()
    which.add_argument("--port", type=int, help="only what is about this ComfyUI port")
    which.add_argument("--instance", metavar="USER", help="what this user's ComfyUI printed")
    logs.set_defaults(run=show_logs)


def show_logs(settings: Settings, given: argparse.Namespace) -> int:
    """Print the newest lines, and those to come."""
    path, wanted = _chosen(settings, given)
    try:
        with path.open("rb") as file:
            for line in newest(path, file, wanted, max(0, given.lines)):
                sys.stdout.write(line)
            sys.stdout.flush()
            if given.follow:
                for line in follow(path, file):
                    if wanted(line):
                        sys.stdout.write(line)
                        sys.stdout.flush()
    except FileNotFoundError:
        raise NotFound(f"there is no {path} yet") from None
    except BrokenPipeError:
        # As in `logs | head`. Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass
    return 0


def _chosen(settings: Settings, given: argparse.Namespace) -> tuple[Path, Wanted]:
    if given.instance is not None:
        launch = newest_launch(settings.database_path, given.instance)
        if launch is None:
            raise NotFound(f"no ComfyUI of {given.instance} is known")
        return settings.data_dir / "runs" / launch / "log", lambda _line: True
    if given.port is not None:
        about = re.compile(rf"端口 {given.port}(?!\d)")
        return settings.log_path, lambda line: about.search(line) is not None
    return settings.log_path, lambda _line: True


def newest(path: Path, file: IO[bytes], wanted: Wanted, count: int) -> list[str]:
    """Give the newest lines that are wanted, out of the file and the one rotated before it."""
    kept: deque[str] = deque(maxlen=count)
    older = path.with_name(f"{path.name}.1")
    if older.is_file():
        with older.open("rb") as before:
            kept.extend(filter(wanted, map(_text, before)))
    kept.extend(filter(wanted, map(_text, file)))
    return list(kept)


def follow(
    path: Path, given: IO[bytes], pause: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Give each line that is written from now on, through rotation by renaming or emptying."""
    file, begun = given, b""
    try:
        while True:
            piece = file.readline()
            if piece:
                begun += piece
                if begun.endswith(b"\n"):
                    yield _text(begun)
                    begun = b""
                continue
            replaced = _replaced(path, file)
            pause(LOOK_EVERY_S)
            if os.fstat(file.fileno()).st_size < file.tell():
                file.seek(0)
            elif replaced and os.fstat(file.fileno()).st_size == file.tell():
                if file is not given:
                    file.close()
                file = path.open("rb")
    finally:
        if file is not given:
            file.close()


def _replaced(path: Path, file: IO[bytes]) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")
