"""Why an instance ended, read from what it left: exit code, last output, the kernel's evidence.

Pure. A ``Reason`` has a kind, which the pages put into words, and the one line that matters, which
is shown as it was printed. What was printed earlier is not taken for the cause: only a traceback
that ends the output counts.
"""

from __future__ import annotations

import errno
import re
import signal
from dataclasses import dataclass

from manager.launcher.confine import NOT_CONFINED
from manager.launcher.guard import NOT_GUARDED

OUT_OF_MEMORY = "out_of_memory"
SIGNAL = "signal"
PYTHON_ERROR = "python_error"
EXIT_CODE = "exit_code"
PORT_TAKEN = "port_taken"
NO_ACCELERATOR = "no_accelerator"
BAD_FLAG = "bad_flag"
PERMISSION = "permission"
DISK_FULL = "disk_full"
REFUSED = "refused"
"""The manager itself did not start it; the line says why."""
NO_ANSWER = "no_answer"
HUNG = "hung"
UNSEEN = "unseen"
"""Nobody saw how it ended: the machine, or its supervisor, went first."""

KINDS = (
    *(OUT_OF_MEMORY, SIGNAL, PYTHON_ERROR, EXIT_CODE, PORT_TAKEN, NO_ACCELERATOR, BAD_FLAG),
    *(PERMISSION, DISK_FULL, REFUSED, NO_ANSWER, HUNG, UNSEEN),
)

HOPELESS = frozenset({PORT_TAKEN, NO_ACCELERATOR, BAD_FLAG, PERMISSION, DISK_FULL, REFUSED})
"""Kinds that another start meets again: somebody has to do something first."""

LINE_LIMIT = 300
"""Characters kept of the line that matters."""

MESSAGE_LINES = 8
"""A traceback with more lines than this after its exception was not the last thing that happened:
messages of several lines exist, and threads may still print theirs."""

USAGE_EXIT = 2
"""What argparse exits with on a wrong command line (Python documentation, ``exit_on_error``)."""

SHELL_SIGNALS = 128
"""Shells report a signal as 128 plus its number: COMFYUI_PYTHON may be a script."""

NO_EXEC = 127
"""What the supervisor notes for a program that could not be run."""

_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?::\s.*|:)?\Z")
_FATAL = re.compile(r"Fatal Python error: .+")
_USAGE = re.compile(r"^usage: ", re.MULTILINE)
_OWN_LINE = re.compile(r"\[(supervisor|manager|guard)\] ")

_BY_TEXT = (
    # PyTorch and ComfyUI say these where the card's driver or its environment is missing;
    # a torch_npu that cannot be imported ends in the first one.
    (
        NO_ACCELERATOR,
        re.compile(
            r"Torch not compiled with CUDA enabled|Found no NVIDIA driver"
            r"|No CUDA GPUs are available"
        ),
    ),
    (DISK_FULL, re.compile(r"No space left on device|Disk quota exceeded|disk is full")),
    (PORT_TAKEN, re.compile(r"(?i)address already in use|port \d+ is already in use")),
    (PERMISSION, re.compile(r"^PermissionError\b|Permission denied|Read-only file system")),
    (OUT_OF_MEMORY, re.compile(r"^MemoryError\b|^[\w.]*OutOfMemoryError\b|Cannot allocate memory")),
)

_BY_ERRNO = {
    errno.ENOSPC: DISK_FULL,
    errno.EDQUOT: DISK_FULL,
    errno.EACCES: PERMISSION,
    errno.EPERM: PERMISSION,
    errno.EROFS: PERMISSION,
    errno.ENOMEM: OUT_OF_MEMORY,
}


@dataclass(frozen=True)
class Reason:
    """Why something ended. ``exit_code`` is negative for a signal; None where there is none."""

    kind: str
    line: str = ""
    exit_code: int | None = None

    def columns(self) -> dict[str, object]:
        """Give the columns of the port's row."""
        return {
            "fault_kind": self.kind,
            "fault_line": self.line[:LINE_LIMIT] or None,
            "exit_code": self.exit_code,
        }


NO_REASON: dict[str, object] = {"fault_kind": None, "fault_line": None, "exit_code": None}
"""The columns of a row of which nothing is to be told."""


def of_exit(exit_code: int | None, output: str, *, oom_killed: bool) -> Reason:
    """Say why a process ended by itself, or was ended by something else than the manager.

    Args:
        exit_code: negative for a signal; None when nobody saw it.
        output: the end of what it printed.
        oom_killed: whether the kernel has just killed something for want of memory there.
    """
    said = [line for line in output.splitlines() if line.strip()]
    lines = [line for line in said if not _OWN_LINE.match(line)]
    number = signal_number(exit_code)
    if number == signal.SIGKILL and oom_killed:
        return Reason(OUT_OF_MEMORY, "", exit_code)
    if number is not None:
        fatal = next((line for line in reversed(lines) if _FATAL.match(line)), "")
        return Reason(SIGNAL, fatal, exit_code)
    ours = [_OWN_LINE.sub("", line) for line in said if _OWN_LINE.match(line)]
    if exit_code == NOT_CONFINED and ours:
        # Whatever its words say, it is the operator's to see to.
        return Reason(REFUSED, ours[-1], exit_code)
    if exit_code in {None, NO_EXEC, NOT_GUARDED} and ours:
        kind = next(filter(None, map(_kind_of, ours)), REFUSED)
        return Reason(kind, ours[-1], exit_code)
    if exit_code is None:
        return Reason(UNSEEN)
    if exit_code == USAGE_EXIT and _USAGE.search(output):
        return Reason(BAD_FLAG, _usage_error(lines), exit_code)
    raised = _last_exception(lines)
    line = raised or (lines[-1].strip() if lines else "")
    kind = _kind_of(line) or (PYTHON_ERROR if raised else EXIT_CODE)
    return Reason(kind, line, exit_code)


def of_refusal(error: Exception) -> Reason:
    """Say why the manager could not start one; the operating system's own error tells best."""
    said, named = str(error), getattr(error, "reason", None)
    if named in KINDS:
        return Reason(named, said)
    cause = error.__cause__
    known = _BY_ERRNO.get(cause.errno or 0) if isinstance(cause, OSError) else None
    return Reason(known or _kind_of(said) or REFUSED, said)


def signal_number(exit_code: int | None) -> int | None:
    """Give the signal that an exit code speaks of, also where a shell stood in between."""
    if exit_code is None or 0 <= exit_code <= SHELL_SIGNALS:
        return None
    number = -exit_code if exit_code < 0 else exit_code - SHELL_SIGNALS
    return number if number in {*signal.Signals} or exit_code < 0 else None


def signal_name(exit_code: int | None) -> str:
    """Name the signal, such as ``SIGSEGV``; empty where there is none, a number where unknown."""
    number = signal_number(exit_code)
    if number is None:
        return ""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def exit_text(exit_code: int | None) -> str:
    """Say in English how a process ended."""
    if exit_code is None:
        return "ended, and nobody saw how"
    if exit_code >= 0:
        return f"exit code {exit_code}"
    return f"ended by signal {-exit_code} ({signal_name(exit_code)})"


def _kind_of(line: str) -> str | None:
    return next((kind for kind, pattern in _BY_TEXT if pattern.search(line)), None)


def _usage_error(lines: list[str]) -> str:
    """Find argparse's ``main.py: error: …``."""
    found = (line for line in reversed(lines) if ": error: " in line)
    return next(found, lines[-1]).strip()


def _last_exception(lines: list[str]) -> str:
    """Find the exception that ended the output, or nothing."""
    starts = [number for number, line in enumerate(lines) if line.strip() == _TRACEBACK]
    if not starts:
        return ""
    for number, line in enumerate(lines[starts[-1] + 1 :], starts[-1] + 1):
        if not line[0].isspace():
            over = len(lines) - number - 1 > MESSAGE_LINES
            return line.strip() if _EXCEPTION.match(line.strip()) and not over else ""
    return ""
