"""A process tree that does everything a tree can do to outlive its end; run as a script.

    python torture.py PID_FILE [--stay S] [--exit-code N] [--calm]

Each process appends its own pid and start ticks to PID_FILE, the ground truth of the tests: it
does not depend on parents, sessions, names or environments.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable


def note(pid_file: str) -> None:
    """Append this process's identity; O_APPEND keeps the lines whole."""
    with open("/proc/self/stat", "rb") as stat:  # noqa: PTH123
        ticks = int(stat.read().rpartition(b")")[2].split()[19])
    file = os.open(pid_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(file, f"{os.getpid()} {ticks}\n".encode())
    os.close(file)


def fork(pid_file: str, body: Callable[[], object]) -> None:
    if os.fork() == 0:
        note(pid_file)
        body()
        time.sleep(600)
        os._exit(0)


def double_fork(pid_file: str, body: Callable[[], object]) -> None:
    def middle() -> None:
        os.setsid()
        fork(pid_file, body)
        os._exit(0)

    fork(pid_file, middle)


def ignore_all() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


def without_environment(pid_file: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import torture, time; "  # noqa: PTH120
        f"torture.note({pid_file!r}); time.sleep(600)"
    )
    os.execve(sys.executable, [sys.executable, "-c", code], {})


def close_everything() -> None:
    os.closerange(0, 256)


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def respawn(pid_file: str, rounds: int = 4000) -> None:
    """Two who watch each other; whoever is left forks again."""
    for _ in range(rounds):
        child = os.fork()
        if child == 0:
            note(pid_file)
            os.setsid()
            time.sleep(0.01)
            os._exit(0)
        os.waitpid(child, 0)


def walk(pid_file: str, steps: int = 3000) -> None:
    """A process whose pid changes every millisecond."""
    for _ in range(steps):
        if os.fork() != 0:
            os._exit(0)
        time.sleep(0.001)
    note(pid_file)


def walk_fast(pid_file: str, steps: int = 400) -> None:
    """The same without a pause that a clock could name."""
    for _ in range(steps):
        if os.fork() != 0:
            os._exit(0)
        time.sleep(0.00005)
    note(pid_file)


def other_name(pid_file: str) -> None:
    """Become a program that is called quite differently."""
    code = (
        f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import torture, time; "  # noqa: PTH120
        f"torture.note({pid_file!r}); time.sleep(600)"
    )
    os.execv(sys.executable, ["[kworker/1:1]", "-c", code])


def overwritten_environment() -> None:
    """Wipe the environment where the kernel reads it, as programs that set their title do."""
    with open("/proc/self/stat", "rb") as stat:  # noqa: PTH123
        words = stat.read().rpartition(b")")[2].split()
    begin, end = int(words[47]), int(words[48])
    ctypes.memset(begin, 0, end - begin)


def listener() -> None:
    """Hold a port of its own."""
    socket.create_server(("127.0.0.1", 0)).detach()


def own_subreaper(pid_file: str) -> None:
    """Take the orphans below itself away from whoever else collects them."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    double_fork(pid_file, ignore_all)


def storm(pid_file: str, count: int = 20) -> None:
    for _ in range(count):
        fork(pid_file, ignore_all)


def deep(pid_file: str, levels: int = 12) -> None:
    if levels:
        fork(pid_file, lambda: deep(pid_file, levels - 1))


def everything(pid_file: str) -> None:
    fork(pid_file, lambda: None)
    fork(pid_file, os.setsid)
    fork(pid_file, ignore_all)
    fork(pid_file, close_everything)
    fork(pid_file, stopped)
    fork(pid_file, lambda: respawn(pid_file))
    fork(pid_file, lambda: deep(pid_file))
    double_fork(pid_file, lambda: None)
    double_fork(pid_file, ignore_all)
    double_fork(pid_file, lambda: without_environment(pid_file))
    double_fork(pid_file, lambda: respawn(pid_file))
    double_fork(pid_file, lambda: walk(pid_file))
    double_fork(pid_file, lambda: walk_fast(pid_file))
    double_fork(pid_file, lambda: other_name(pid_file))
    double_fork(pid_file, overwritten_environment)
    double_fork(pid_file, listener)
    double_fork(pid_file, lambda: own_subreaper(pid_file))
    double_fork(pid_file, lambda: storm(pid_file))


def main() -> None:
    pid_file, words = sys.argv[1], sys.argv[2:]
    note(pid_file)
    if "--calm" not in words:
        everything(pid_file)
    if "--deaf" in words:
        ignore_all()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    stay = float(words[words.index("--stay") + 1]) if "--stay" in words else 600
    time.sleep(stay)
    sys.exit(int(words[words.index("--exit-code") + 1]) if "--exit-code" in words else 0)


if __name__ == "__main__":
    main()
