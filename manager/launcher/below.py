"""Who is below the supervisor, and how they are signalled and collected; part of that program.

Only direct children are signalled by their bare number: nobody else can reap them, so their numbers
cannot be reused. Imports next to nothing, as the supervisor does.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    # See ``supervisor``.
    import _signal as signal

KILL_ROUND_S = 0.01


def start_ticks(pid: int) -> int:
    """Give a process's start time in clock ticks since boot, field 22 of proc_pid_stat(5).

    Raises:
        OSError: there is no such process.
    """
    return int(_stat(pid)[19])


def children(parent: int) -> list[int]:
    """List direct children, adopted ones included, the eldest first."""
    try:
        with open(f"/proc/{parent}/task/{parent}/children") as file:  # noqa: PTH123
            return [int(word) for word in file.read().split()]
    except ProcessLookupError:
        return []
    except FileNotFoundError:
        # Kernels without CONFIG_PROC_CHILDREN, or no such process.
        pids = sorted(map(int, filter(str.isdigit, os.listdir("/proc"))))  # noqa: PTH208
        return [pid for pid in pids if is_child(pid, parent)]


def is_child(pid: int, parent: int) -> bool:
    """Tell a direct child."""
    try:
        return int(_stat(pid)[1]) == parent
    except OSError:
        return False


def within(sandbox: int) -> int | None:
    """Find the program that bubblewrap runs: the first child of its first child, which is init."""
    for init in children(sandbox)[:1]:
        for program in children(init)[:1]:
            return program
    return None


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process that may have ended meanwhile."""
    try:  # noqa: SIM105
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def ask(child: int, main: int, ticks: int) -> None:
    """Ask the program to end: ``main`` as long as it lives, else the direct child."""
    try:
        pid = main if start_ticks(main) == ticks else child
    except OSError:
        pid = child
    send(pid, signal.SIGTERM)
    # A stopped process notices nothing before it is continued.
    send(pid, signal.SIGCONT)


def reap(child: int) -> int | None:
    """Collect everyone who has ended.

    Returns:
        The child's exit code, negative for a signal, when it was among them.
    """
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            code = os.waitstatus_to_exitcode(status)


def end_all() -> None:
    """Kill one generation of everything below; the next one is then ours by adoption."""
    for pid in children(os.getpid()):
        send(pid, signal.SIGKILL)


def end_rest() -> None:
    """Kill until the kernel says that no child is left."""
    while True:
        end_all()
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            signal.sigtimedwait({signal.SIGCHLD}, KILL_ROUND_S)


def _stat(pid: int) -> list[bytes]:
    """Read the fields of /proc/PID/stat from the third one on."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return file.read().rsplit(b")", 1)[1].split()
