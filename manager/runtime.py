"""The ground everybody stands on, and the only importer of eventlet.

``setup`` must run before anything that touches sockets, threads or logging is imported: the
entry calls it first. Two modes serve the same code: ``eventlet`` (production, green threads) and
``threading`` (tests, and the way out). Everybody else uses the standard library's ``threading``,
``queue`` and ``time`` as usual and calls ``offload`` for what would hold the green loop.

Functions given to ``offload`` run in a real thread beside the green ones: they must not log, nor
touch a lock or queue that green code shares, nor publish. They return values.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

HEAVY_AT_ONCE = 2
"""Password hashes computed at the same time: each takes 32 MiB and one core for 0.2 s."""

MODES = ("eventlet", "threading")

_mode = "threading"
_eventlet: Any = None
_heavy: Any = None


def setup(mode: str) -> None:
    """Choose how threads run; ``eventlet`` patches the standard library.

    Raises:
        RuntimeError: the patch did not take, because something was imported too early.
    """
    global _mode, _eventlet
    if mode == "eventlet":
        # Both are read by eventlet at import: its own resolver costs 450 us a look-up, and 20
        # threads of 32 MiB password hashes are 640 MiB.
        os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
        os.environ.setdefault("EVENTLET_THREADPOOL_SIZE", "8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import eventlet  # type: ignore[import-untyped]
            import eventlet.tpool  # type: ignore[import-untyped]
            import eventlet.websocket  # type: ignore[import-untyped]
            import eventlet.wsgi  # type: ignore[import-untyped]
        eventlet.monkey_patch()
        if not eventlet.patcher.is_monkey_patched("socket"):
            raise RuntimeError("eventlet could not patch the standard library")
        socket.getaddrinfo = _beside(socket.getaddrinfo)
        _eventlet = eventlet
    _mode = mode


def _beside(look_up: Callable[..., T]) -> Callable[..., T]:
    """Have names looked up beside the green loop: a name server that is away takes many seconds."""

    def getaddrinfo(host: Any, *given: Any, **more: Any) -> T:  # noqa: ANN401 - handed on
        try:
            ipaddress.ip_address(host)
        except ValueError:
            result: T = _eventlet.tpool.execute(look_up, host, *given, **more)
            return result
        return look_up(host, *given, **more)

    return getaddrinfo


def mode() -> str:
    """Name the mode in force, for Flask-SocketIO's ``async_mode``."""
    return _mode


def offload(function: Callable[..., T], *args: object) -> T:
    """Run ``function`` where it cannot hold up the green loop, and wait for its result."""
    if _eventlet is None:
        return function(*args)
    result: T = _eventlet.tpool.execute(function, *args)
    return result


def offload_heavy(function: Callable[..., T], *args: object) -> T:
    """Like ``offload``, for what eats a core and memory: at most ``HEAVY_AT_ONCE`` at a time."""
    global _heavy
    if _heavy is None:
        import threading

        _heavy = threading.BoundedSemaphore(HEAVY_AT_ONCE)
    with _heavy:
        return offload(function, *args)


class GreenHttpServer:
    """eventlet's WSGI server on a listening socket; it can be told to finish."""

    def __init__(
        self,
        listener: socket.socket,
        app: Callable[..., Any],
        max_connections: int,
        crowd: Any,  # noqa: ANN401 - green_http.Crowd, which is imported below
        no_room: Callable[[OSError], None],
    ) -> None:
        """Begin to serve. An open websocket counts as a connection, and ``crowd`` lets it in.

        ``no_room`` is told when the machine has nothing left for one more connection.
        """
        # Not at the top: logging's locks would be made before the patch.
        import logging

        from manager import green_http

        green_http.limit_messages(_eventlet)
        self._thread = _eventlet.spawn(
            _eventlet.wsgi.server,
            green_http.Door(listener, crowd, no_room),
            app,
            log=logging.getLogger("eventlet.wsgi"),
            log_output=False,
            protocol=green_http.protocol(_eventlet, crowd),
            # Else a traceback goes to the visitor.
            debug=False,
            max_size=max_connections,
        )

    def stop(self, limit_s: float) -> None:
        """Take no more requests and wait for those under way, up to ``limit_s`` seconds."""
        # The accepting loop takes SystemExit as the sign to finish what it has begun.
        self._thread.kill(SystemExit())
        with _eventlet.Timeout(limit_s, False):
            self._thread.wait()


class StopSignal:
    """SIGTERM and SIGINT as something that can be waited for.

    A handler that switches green threads may be noticed only at the hub's next timer, seconds
    later; a byte on a socket wakes it at once. So the handler does nothing and
    ``signal.set_wakeup_fd`` writes the number of the signal.
    """

    def __init__(self) -> None:
        """Take over both signals; must run in the main thread."""
        self._read, self._write = socket.socketpair()
        # The wakeup fd must not block the interpreter; the reading end must block its waiter only.
        os.set_blocking(self._write.fileno(), False)
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)

    def wait(self) -> signal.Signals:
        """Block until one of the two arrives and say which."""
        while True:
            for number in self._read.recv(64):
                if number in (signal.SIGTERM, signal.SIGINT):
                    return signal.Signals(number)


def flush_standard_streams() -> None:
    """Write out what is buffered, before a hard exit."""
    sys.stdout.flush()
    sys.stderr.flush()
