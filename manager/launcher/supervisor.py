"""The parent of one ComfyUI: a small program of its own, run by path and not imported.

    python -I -S supervisor.py RUN_DIR LOG_MAX_BYTES[:PARENT] PROGRAM [ARGUMENT ...]

It is the parent instead of the manager so that instances outlive the manager, and it adopts every
orphan below it (Linux ``PR_SET_CHILD_SUBREAPER``, prctl(2)), so that no descendant can hide by a
double fork or a session of its own. Its environment and standard streams are those of the child.

What it keeps in RUN_DIR: a flock on ``lock`` for as long as it lives, ``record`` with its own and
the child's identity before the child runs, ``exit`` when the child has ended, ``gone`` when nothing
is left below it. SIGTERM asks the child to end; SIGUSR1 kills all at once. When the child has
ended, for whatever reason, everything else below is killed. Where PARENT is given, the number of
the process that started it, it ends the child when that is gone: politely, then by force.

It imports next to nothing: a copy runs beside every instance. For the same reason it does without
``pathlib`` and ``contextlib``.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time

if __name__ == "__main__":
    # Both packages above the imports below are empty but for a docstring.
    sys.path.append(__file__.rsplit("/", 3)[0])

from manager.launcher.below import ask, end_all, end_rest, reap, send, start_ticks, within
from manager.launcher.notes import exit_text, last_line, say, write_file, write_record
from manager.launcher.rotation import Log

NO_RECORD = 74
"""Exit code: the record could not be written, so nothing was started (EX_IOERR of sysexits.h)."""

NO_LOCK = 75
"""Exit code: another supervisor has this launch (EX_TEMPFAIL of sysexits.h)."""

NO_SUBREAPER = 71
"""Exit code: the kernel refused PR_SET_CHILD_SUBREAPER (EX_OSERR of sysexits.h)."""

NO_EXEC = 127
"""Exit code noted for a child whose program could not be run, as shells do."""

NOT_CONFINED = 77
"""Exit code noted for a child that could not be confined, so nothing was run. ``confine`` has it
too, but is not imported here for the sake of what a supervisor weighs."""

DONE, DONE_WITHIN = b"+", b"="
"""What is heard when the child is confined, the second from within a sandbox; why its program could
not be run may follow. Anything else is why it could not be confined."""

SHELL_SIGNALS = 128
"""Bubblewrap reports a program that a signal ended as shells do: this and the signal's number."""

ORPHAN_GRACE_S = 5.0
"""Time the child has for a polite end when the parent that must not be outlived is gone."""

PR_SET_CHILD_SUBREAPER = 36
LOCK_ATTEMPTS = 200
LOCK_PAUSE_S = 0.005
FIRST_LOOK_S = 1.0
NEWS = {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD}
DEAF_TO = {signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGPIPE}


def become_subreaper() -> None:
    """Have every orphan below this process handed to it.

    Raises:
        OSError: the kernel refused.
    """
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def take_lock(path: str) -> bool:
    """Take the launch's lock for this process's life; a glance by the manager holds it briefly."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # noqa: PERF203
            time.sleep(LOCK_PAUSE_S)
        else:
            return True
    return False


def run_child(run_dir: str, argv: list[str], go: int, tell: int) -> None:
    """Wait in the fork until the record is written, then become the program. Never returns."""
    code = NOT_CONFINED
    try:
        # Nothing to read means that the supervisor died or gave up: then nothing is started.
        if os.read(go, 1) != b"!":
            os._exit(NO_RECORD)
        # A session of its own: `kill 0` inside ComfyUI must not reach the supervisor.
        os.setsid()
        # What is ignored is inherited: by Python SIGPIPE and SIGXFSZ, in the background of a shell
        # SIGINT and SIGQUIT, below some service programs SIGCHLD.
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        if os.path.lexists(run_dir + "/plan"):
            from manager.launcher import confine

            argv = confine.enter(run_dir, argv, tell)
        else:
            os.write(tell, DONE)
        code = NO_EXEC
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(tell, (error.strerror or str(error)).encode())
    finally:
        os._exit(code)


def start(run_dir: str, argv: list[str]) -> tuple[int, bytes]:
    """Fork, record, and only then let the child become ComfyUI.

    Returns:
        The child's pid and what was heard from it; one that does not run its program ends by
        itself.

    Raises:
        OSError: the record could not be written; nothing runs.
    """
    go, let_go = os.pipe()
    heard, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(let_go)
        # Were it kept, nobody's absence at the other end would be noticed.
        os.close(heard)
        run_child(run_dir, argv, go, tell)
    os.close(go)
    os.close(tell)
    try:
        write_record(run_dir, child)
    except OSError:
        os.close(let_go)
        os.waitpid(child, 0)
        raise
    try:  # noqa: SIM105
        os.write(let_go, b"!")
    except BrokenPipeError:
        pass
    os.close(let_go)
    # Ends by itself in every way: a successful exec closes the other end.
    with open(heard, "rb") as said:  # noqa: PTH123
        return child, said.read()


def explain(run_dir: str, argv: list[str], heard: bytes) -> str:
    """Say in the log why nothing runs.

    Returns:
        The reason; empty when the program runs.
    """
    reason = heard.decode(errors="replace")
    if heard.startswith((DONE, DONE_WITHIN)):
        if reason[1:]:
            say(f"cannot run {argv[0]}: {reason[1:]}")
        return reason[1:]
    reason = reason or last_line(run_dir + "/log") or "it ended before that"
    say(f"nothing was started, it could not be confined: {reason}")
    return reason


def find_main(run_dir: str, child: int, heard: bytes) -> tuple[int, int]:
    """Give pid and start ticks of the program itself; within a sandbox that is not the child.

    It is recorded too then. Where that fails, the record keeps the sandbox's own first process.
    """
    if heard.startswith(DONE_WITHIN):
        try:
            main = within(child) or child
            ticks = start_ticks(main)
            write_record(run_dir, main)
        except OSError:
            pass
        else:
            return main, ticks
    return child, 0


class Parent:
    """The process that this one must not outlive; number 0 for none."""

    def __init__(self, pid: int) -> None:
        """Begin while it may already be gone."""
        self.pid = pid
        self.kill_at = 0.0

    def order(self) -> int:
        """Say what its loss asks for: SIGTERM once, SIGUSR1 when the grace is over, 0 for nothing.

        An orphan is handed to somebody else, so the number of its parent changes.
        """
        if not self.pid or os.getppid() == self.pid:
            return 0
        if not self.kill_at:
            self.kill_at = time.monotonic() + ORPHAN_GRACE_S
            say("what started this is gone: ending")
            return signal.SIGTERM
        return signal.SIGUSR1 if time.monotonic() >= self.kill_at else 0


def watch(child: int, main: tuple[int, int], log: Log, parent: int = 0) -> int:
    """Live with the child until it ends.

    Returns:
        Its exit code, negative for a signal.
    """
    wait_s = FIRST_LOOK_S
    lost = Parent(parent)
    while True:
        news = signal.sigtimedwait(NEWS, wait_s)
        order = news.si_signo if news is not None else 0
        if order not in (signal.SIGTERM, signal.SIGUSR1):
            order = lost.order()
        if order == signal.SIGUSR1:
            send(child, signal.SIGKILL)
            end_all()
        elif order == signal.SIGTERM:
            ask(child, *main)
        code = reap(child)
        if code is not None:
            return code
        wait_s = log.look()


def main(run_dir: str, limit: int, argv: list[str], parent: int = 0) -> int:
    """Run one launch from lock to gone."""
    signal.pthread_sigmask(signal.SIG_BLOCK, NEWS | DEAF_TO)
    # Were it ignored, as it may be inherited, the kernel would reap the children itself.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.umask(0o077)
    try:
        become_subreaper()
    except OSError as error:
        say(f"the kernel refused to make this a subreaper: {error.strerror}")
        return NO_SUBREAPER
    try:
        if not take_lock(run_dir + "/lock"):
            say("another supervisor has this launch")
            return NO_LOCK
        log = Log(run_dir + "/log", limit)
        write_record(run_dir, None)
        child, heard = start(run_dir, argv)
    except OSError as error:
        say(f"nothing was started, the record cannot be written: {error.strerror}")
        return NO_RECORD
    reason = explain(run_dir, argv, heard)
    code = watch(child, find_main(run_dir, child, heard), log, parent)
    if not heard.startswith((DONE, DONE_WITHIN)):
        code = NOT_CONFINED
    elif heard.startswith(DONE_WITHIN) and SHELL_SIGNALS < code < SHELL_SIGNALS + signal.NSIG:
        code = SHELL_SIGNALS - code
    # Kill first: the records may fail on a full disk, the killing must not.
    end_rest()
    try:
        write_file(run_dir + "/exit", exit_text(code, reason))
        write_file(run_dir + "/gone", "gone\n")
    except OSError as error:
        say(f"cannot record the end: {error.strerror}")
    return 0


if __name__ == "__main__":
    _limit, _, _parent = sys.argv[2].partition(":")
    sys.exit(main(sys.argv[1], int(_limit), sys.argv[3:], int(_parent or 0)))
