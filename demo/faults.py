"""Ways of failing, for tests: each is one switch of the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from argparse import Namespace

from flask import Response

GRANDCHILD = """
import os, signal, sys, time
kind = int(sys.argv[1]) % 3
if kind == 1:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if kind == 2 and os.fork():
    os._exit(0)
if kind == 2:
    os.setsid()
time.sleep(86400)
"""
_HUGE_BYTES = 64 << 20


def ignore_signals() -> None:
    """Be deaf to both ways of asking for an end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def traceback_text(message: str) -> str:
    """Give what a failing ComfyUI prints."""
    return (
        "Traceback (most recent call last):\n"
        f'  File "{sys.argv[0]}", line 198, in <module>\n'
        "    import execution\n"
        f"RuntimeError: {message}\n"
    )


def spawn_grandchildren(count: int) -> None:
    """Leave processes behind: plain ones, deaf ones, and orphans in sessions of their own."""
    for number in range(count):
        # Every second one without the environment by which it could be recognised.
        env: dict[str, str] | None = {} if number % 2 else None
        command = [sys.executable, "-I", "-S", "-c", GRANDCHILD, str(number)]
        subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)


def flood() -> None:
    """Print about 6 MB/s for ever, beside everything else."""
    line = b"demo flood " + b"." * 115 + b"\n"

    def pour() -> None:
        while True:
            os.write(2, line * 512)
            time.sleep(0.01)

    threading.Thread(target=pour, daemon=True).start()


def crash_after(seconds: float) -> None:
    """Die with a traceback, from a thread, without any clean-up."""

    def crash() -> None:
        time.sleep(seconds)
        os.write(2, traceback_text("demo crash, as asked by --demo-crash-after").encode())
        os._exit(1)

    threading.Thread(target=crash, daemon=True).start()


class Hang:
    """From some moment on, answers nothing any more."""

    def __init__(self, after_s: float | None) -> None:
        """Count from now; None never hangs."""
        self._at = None if after_s is None else time.monotonic() + after_s

    def __call__(self) -> None:
        """Hold a request for ever when the moment has come."""
        if self._at is not None and time.monotonic() >= self._at:
            threading.Event().wait()


def lie(kind: str) -> Response:
    """Answer ``/queue`` or ``/prompt`` with nonsense."""
    if kind == "500":
        return Response("500 Internal Server Error\n\nServer got itself in trouble", 500)
    body, mimetype = {
        "garbage": (b'{"queue_running": [\x00\xff\xfe', "application/json"),
        "negative": (
            b'{"queue_running": -1, "queue_pending": -2, "exec_info": {"queue_remaining": -3}}',
            "application/json",
        ),
        "html": (b"<!doctype html><title>ComfyUI</title>", "text/html"),
        "huge": (b'{"queue_running": ["' + b"x" * _HUGE_BYTES + b'"]}', "application/json"),
        "idle": (
            b'{"queue_running": [], "queue_pending": [], "exec_info": {"queue_remaining": 0}}',
            "application/json",
        ),
    }[kind]
    return Response(body, mimetype=mimetype)


def apply_at_start(options: Namespace) -> None:
    """Switch on what concerns the process itself, before it boots."""
    if options.demo_ignore_sigterm:
        ignore_signals()
    if options.demo_exit_at_start is not None:
        os.write(2, traceback_text("demo failure, as asked by --demo-exit-at-start").encode())
        sys.exit(options.demo_exit_at_start)
    spawn_grandchildren(options.demo_spawn_grandchildren)
    if options.demo_flood:
        flood()
    if options.demo_never_answer:
        while True:
            time.sleep(3600)
