"""The parent of one ComfyUI: a small program of its own, run by path and not imported.

    python -I -S supervisor.py RUN_DIR LOG_MAX_BYTES PROGRAM [ARGUMENT ...]

It is the parent instead of the manager so that instances outlive the manager, and it adopts every
orphan below it (Linux ``PR_SET_CHILD_SUBREAPER``, prctl(2)), so that no descendant can hide by a
double fork or a session of its own. Its environment and standard streams are those of the child.

What it keeps in RUN_DIR: a flock on ``lock`` for as long as it lives, ``record`` with its own and
the child's identity before the child runs, ``exit`` when the child has ended, ``gone`` when nothing
is left below it. SIGTERM asks the child to end; SIGUSR1 kills all at once. When the child has
ended, for whatever reason, everything else below is killed.

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
    # Both packages above the one import below are empty but for a docstring.
    sys.path.append(__file__.rsplit("/", 3)[0])

from manager.launcher.rotation import Log

NO_RECORD = 74
"""Exit code: the record could not be written, so nothing was started (EX_IOERR of sysexits.h)."""

NO_LOCK = 75
"""Exit code: another supervisor has this launch (EX_TEMPFAIL of sysexits.h)."""

NO_SUBREAPER = 71
"""Exit code: the kernel refused PR_SET_CHILD_SUBREAPER (EX_OSERR of sysexits.h)."""

NO_EXEC = 127
"""Exit code noted for a child whose program could not be run, as shells do."""

PR_SET_CHILD_SUBREAPER = 36
LOCK_ATTEMPTS = 200
LOCK_PAUSE_S = 0.005
FIRST_LOOK_S = 1.0
KILL_ROUND_S = 0.01
NEWS = {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD}
DEAF_TO = {signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGPIPE}


def say(text: str) -> None:
    """Write one line into the instance's log; a full disk must not matter."""
    try:  # noqa: SIM105
        os.write(2, f"[supervisor] {text}\n".encode("utf-8", "replace"))
    except OSError:
        pass


def start_ticks(pid: int) -> int:
    """Give a process's start time in clock ticks since boot, field 22 of proc_pid_stat(5)."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return int(file.read().rsplit(b")", 1)[1].split()[19])


def write_file(path: str, text: str) -> None:
    """Write a small file whole or not at all."""
    part = path + ".part"
    file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(file, text.encode()) != len(text.encode()):
            raise OSError(28, "No space left on device")
    finally:
        os.close(file)
    os.replace(part, path)  # noqa: PTH105


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


def write_record(run_dir: str, child: int | None) -> None:
    """Note who is who. Start ticks and the boot's id make the bare numbers unmistakable."""
    with open("/proc/sys/kernel/random/boot_id") as file:  # noqa: PTH123
        boot_id = file.read().strip()
    me = os.getpid()
    text = f'{{"boot_id": "{boot_id}", "supervisor": [{me}, {start_ticks(me)}]'
    if child is not None:
        text += f', "child": [{child}, {start_ticks(child)}]'
    write_file(run_dir + "/record", text + "}\n")


def run_child(argv: list[str], go: int, failed: int) -> None:
    """Wait in the fork until the record is written, then become the program. Never returns."""
    try:
        # Nothing to read means that the supervisor died or gave up: then nothing is started.
        if os.read(go, 1) != b"!":
            os._exit(NO_RECORD)
        # A session of its own: `kill 0` inside ComfyUI must not reach the supervisor.
        os.setsid()
        # Python ignores these two, and a parent shell may have ignored SIGINT; all is inherited.
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(failed, str(error.strerror).encode())
    finally:
        os._exit(NO_EXEC)


def start(run_dir: str, argv: list[str]) -> tuple[int, str]:
    """Fork, record, and only then let the child become ComfyUI.

    Returns:
        The child's pid, and why it could not run its program (empty when it could). Such a child
        ends by itself.

    Raises:
        OSError: the record could not be written; nothing runs.
    """
    go, let_go = os.pipe()
    heard, failed = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(let_go)
        run_child(argv, go, failed)
    os.close(go)
    os.close(failed)
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
    # Ends at once in either way: a successful exec closes the other end.
    reason = os.read(heard, 200).decode(errors="replace")
    os.close(heard)
    if reason:
        say(f"cannot run {argv[0]}: {reason}")
    return child, reason


def children() -> list[int]:
    """List the direct children, adopted ones included.

    Only these are ever signalled: nobody else can reap them, so their numbers cannot be reused.
    """
    me = os.getpid()
    try:
        with open(f"/proc/{me}/task/{me}/children") as file:  # noqa: PTH123
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        # Kernels without CONFIG_PROC_CHILDREN.
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if is_mine(pid)]  # noqa: PTH208


def is_mine(pid: int) -> bool:
    """Tell a direct child."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return int(file.read().rsplit(b")", 1)[1].split()[1]) == os.getpid()
    except OSError:
        return False


def send(pid: int, number: signal.Signals) -> None:
    """Signal a direct child that may have ended meanwhile."""
    try:  # noqa: SIM105
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


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


def watch(child: int, log: Log) -> int:
    """Live with the child until it ends.

    Returns:
        Its exit code, negative for a signal.
    """
    wait_s = FIRST_LOOK_S
    while True:
        news = signal.sigtimedwait(NEWS, wait_s)
        if news is not None and news.si_signo == signal.SIGUSR1:
            send(child, signal.SIGKILL)
            end_all()
        elif news is not None and news.si_signo == signal.SIGTERM:
            send(child, signal.SIGTERM)
            # A stopped process notices nothing before it is continued.
            send(child, signal.SIGCONT)
        code = reap(child)
        if code is not None:
            return code
        wait_s = log.look()


def end_all() -> None:
    """Kill one generation of everything below; the next one is then ours by adoption."""
    for pid in children():
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


def exit_text(code: int, reason: str) -> str:
    """Write how the child ended as JSON, without importing ``json``."""
    plain = "".join(c for c in reason if c.isprintable() and c not in '"\\')
    return f'{{"code": {code}, "reason": "{plain}"}}\n'


def main(run_dir: str, limit: int, argv: list[str]) -> int:
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
        child, reason = start(run_dir, argv)
    except OSError as error:
        say(f"nothing was started, the record cannot be written: {error.strerror}")
        return NO_RECORD
    code = watch(child, log)
    # Kill first: the records may fail on a full disk, the killing must not.
    end_rest()
    try:
        write_file(run_dir + "/exit", exit_text(code, reason))
        write_file(run_dir + "/gone", "gone\n")
    except OSError as error:
        say(f"cannot record the end: {error.strerror}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
