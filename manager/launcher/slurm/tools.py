"""Runs one of Slurm's commands, and never longer than it may.

Looked at from time to time and not waited for: a thread that waits for a child would hold up all
others under eventlet. What is printed goes into memory, so nobody has to empty a pipe meanwhile.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

LIMIT_S = 12.0
"""For one command. Slurm's own patience with its controller is 10 s (``MessageTimeout``)."""

MOST_BYTES = 16 << 20
LOOK_EVERY_S = 0.02
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "SLURM_CONF")
"""All of the environment that a command sees. ``SBATCH_…`` and its like would change what it does,
and sbatch hands the rest on to the job."""


class Silent(Exception):
    """A command did not do what it was asked for; whether Slurm has, is not known."""


@dataclass(frozen=True)
class Done:
    """How a command ended and what it printed."""

    code: int
    printed: str
    errors: str

    @property
    def why(self) -> str:
        """Its last line, for people."""
        lines = [line.strip() for line in (self.printed + self.errors).splitlines()]
        text = next((line for line in reversed(lines) if line), f"it ended with {self.code}")
        return "".join(c if c.isprintable() else " " for c in text)[:300]


class Tools:
    """The commands, with what of the environment is for them."""

    def __init__(self, environ: Mapping[str, str], limit_s: float = LIMIT_S) -> None:
        """Take of the environment what the commands need."""
        kept = {name: environ[name] for name in _KEPT if name in environ}
        self._env = {**kept, "LANG": "C", "LC_ALL": "C"}
        self._limit_s = limit_s

    def run(self, *words: str, given: str = "") -> Done:
        """Run a command, ``given`` on its standard input.

        Raises:
            Silent: it is not there, took too long or printed too much.
        """
        try:
            with _memory() as told, _memory() as out, _memory() as err:
                told.write(given.encode())
                told.seek(0)
                process = self._begin(words, (told.fileno(), out.fileno(), err.fileno()))
                self._wait(process, words[0], out)
                return Done(process.returncode, _text(out), _text(err))
        except FileNotFoundError:
            raise Silent(f"{words[0]} is not installed here, or not on PATH") from None
        except OSError as error:
            raise Silent(f"{words[0]} cannot be run: {error.strerror}") from None

    def _begin(self, words: Sequence[str], files: tuple[int, int, int]) -> subprocess.Popen[bytes]:
        told, out, err = files
        return subprocess.Popen(
            words,
            stdin=told,
            stdout=out,
            stderr=err,
            cwd="/",
            env=self._env,
            start_new_session=True,
        )

    def _wait(self, process: subprocess.Popen[bytes], name: str, out: BinaryIO) -> None:
        until = time.monotonic() + self._limit_s
        why = ""
        while process.poll() is None:
            if os.fstat(out.fileno()).st_size > MOST_BYTES:
                why = f"{name} printed more than {MOST_BYTES >> 20} MiB"
            elif time.monotonic() > until:
                why = f"{name} did not answer within {self._limit_s:g} s"
            if why:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            time.sleep(LOOK_EVERY_S)
        if why:
            raise Silent(why)


def _memory() -> BinaryIO:
    return os.fdopen(os.memfd_create("slurm-command"), "w+b")


def _text(file: BinaryIO) -> str:
    return os.pread(file.fileno(), MOST_BYTES, 0).decode("utf-8", "replace")
