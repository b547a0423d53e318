"""Runs one of the drivers' tools, and never longer than it may.

A tool can hang in the driver where not even SIGKILL ends it. So nothing here waits for its end: it
is looked at, killed with its whole process group when its time is over, and if it is still there
then, no second one is started beside it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import BinaryIO

from manager.cards.reading import Unreadable

Run = Callable[[Sequence[str]], str]
"""Runs a command and gives what it printed; raises ``Unreadable`` when it cannot be used."""

LOOK_EVERY_S = 0.02
KILL_LIMIT_S = 1.0
MOST_BYTES = 1 << 20
"""A table of 64 cards has 20 KB; what prints more than this is not one."""

TOO_LONG = "did not answer within"


class Tools:
    """Runs tools one at a time, within a time limit for each look at the cards."""

    def __init__(
        self,
        limit_s: float,
        monotonic: Callable[[], float] = time.monotonic,
        stopping: Callable[[], bool] = lambda: False,
        grace_s: float = 0.0,
    ) -> None:
        """Say how many seconds one look may take in all, and who knows that it must end now.

        ``grace_s``: for so long one that must end may tidy up after SIGTERM before it is killed.
        """
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._monotonic = monotonic
        self._stopping = stopping
        self._deadline = monotonic() + limit_s
        self._stuck: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Begin a look: its time starts now."""
        self._deadline = self._monotonic() + self._limit_s

    def run(self, command: Sequence[str], given: bytes = b"") -> str:
        """Run a command, ``given`` on its standard input, and give what it printed.

        Raises:
            Unreadable: it is missing, failed, took too long or printed too much.
        """
        name = command[0]
        if self._stuck is not None and self._stuck.poll() is None:
            raise Unreadable(f"{name} hangs in the driver and cannot be ended")
        self._stuck = None
        # Memory, not pipes: no thread has to empty them, and nothing goes to the disk.
        with _memory_file() as told, _memory_file() as out, _memory_file() as err:
            told.write(given)
            told.seek(0)
            process = self._spawn(command, told.fileno(), out.fileno(), err.fileno())
            code = self._finished(process, name, out)
            printed, said = _text(out), _text(err)
        if code:
            raise Unreadable(f"{name} ended with {code}{_reason(printed + said)}")
        return printed

    def _spawn(
        self, command: Sequence[str], told: int, out: int, err: int
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                command,
                stdin=told,
                stdout=out,
                stderr=err,
                cwd="/",
                env={**os.environ, "LANG": "C", "LC_ALL": "C"},
                start_new_session=True,
            )
        except FileNotFoundError:
            raise Unreadable(f"{command[0]} is not installed, or not on PATH") from None
        except OSError as error:
            raise Unreadable(f"{command[0]} cannot be run: {error.strerror}") from error

    def _finished(self, process: subprocess.Popen[bytes], name: str, out: BinaryIO) -> int:
        why = f"{name} {TOO_LONG} {self._limit_s:g} s"
        while not _ended(process):
            if os.fstat(out.fileno()).st_size > MOST_BYTES:
                why = f"{name} printed more than {MOST_BYTES >> 20} MiB"
            elif self._stopping():
                why = f"{name} was not waited for"
            elif self._monotonic() < self._deadline:
                time.sleep(LOOK_EVERY_S)
                continue
            self._kill(process)
            raise Unreadable(why)
        # Whatever it left behind, before its number can be given to anybody else.
        _kill_group(process.pid)
        return process.wait()

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        patience = self._monotonic() + self._grace_s
        if self._grace_s:
            _kill_group(process.pid, signal.SIGTERM)
        while self._monotonic() < patience and not _ended(process):
            time.sleep(LOOK_EVERY_S)
        _kill_group(process.pid)
        until = self._monotonic() + KILL_LIMIT_S
        while not _ended(process):
            if self._monotonic() >= until:
                self._stuck = process
                return
            time.sleep(LOOK_EVERY_S)
        process.wait()


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether it has ended, and leave it unreaped: until then its number stays its own."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _memory_file() -> BinaryIO:
    """Make a nameless file in memory (memfd_create(2))."""
    try:
        return os.fdopen(os.memfd_create("card-tool"), "w+b")
    except OSError as error:
        raise Unreadable(f"no memory for the tool's output: {error.strerror}") from error


def _text(file: BinaryIO) -> str:
    return os.pread(file.fileno(), MOST_BYTES, 0).decode("utf-8", "replace")


def _reason(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return f": {lines[-1][:160]}" if lines else ""


def _kill_group(group: int, how: signal.Signals = signal.SIGKILL) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, how)
