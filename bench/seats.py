"""A user's place in a system that starts programs for people, and how long start and stop take.

The same child, the demo, everywhere: alone (``Bare``), through the manager (``Ours``), and through
whatever else has a ``Seat``. Times are seconds of the monotonic clock.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol, TypeVar

import psutil
import requests
import websocket

from manager import settings, workspace
from manager.launcher.command import build_command
from tests.support.client import Client, Workspace
from tests.support.server import LOOPBACK, ManagerProcess

LOOK_S = 0.005
ASK_S = 0.05
"""Between two questions to the manager: asked more often, it would take the CPU of the boot."""

PATIENCE_S = 300.0

T = TypeVar("T")


class Seat(Protocol):
    """One user's place. ``port`` is where his own server listens."""

    port: int

    def click(self) -> None:
        """Ask for a start."""

    def enter(self) -> None:
        """Wait for the first 200 of the user's own server, the way he reaches it."""

    def leave(self) -> None:
        """Ask for the stop."""

    def is_shut(self) -> bool:
        """Tell whether the way to the server leads there no more."""

    def free(self) -> None:
        """Wait until the next start may be asked for."""

    def websocket(self) -> websocket.WebSocket:
        """Open a websocket to the user's server, the way he does."""


@dataclass(frozen=True)
class Start:
    """How long a start took from the click, and of that after the server already listened."""

    usable: float
    late: float


def until(condition: Callable[[], bool], patience: float = PATIENCE_S) -> float:
    """Wait until ``condition`` is true and give the seconds that took.

    Raises:
        TimeoutError: it did not become true.
    """
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > patience:
            raise TimeoutError("not within the time")
        time.sleep(LOOK_S)
    return time.monotonic() - begun


def answers(url: str) -> bool:
    """Tell whether a URL answers 200 now."""
    try:
        return bool(requests.get(url, timeout=5).ok)
    except requests.RequestException:
        return False


def listener(port: int) -> int:
    """Find who listens on a port.

    Raises:
        LookupError: nobody.
    """
    for one in psutil.net_connections("tcp4"):
        if one.status == psutil.CONN_LISTEN and one.laddr[1:] == (port,) and one.pid:
            return int(one.pid)
    raise LookupError(port)


def has_ended(process: psutil.Process) -> bool:
    """Tell whether a process is gone, or only waits for its parent."""
    try:
        return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def listens(port: int) -> bool:
    """Tell whether somebody listens on a port."""
    with socket.socket() as knocking:
        return knocking.connect_ex((LOOPBACK, port)) == 0


class Listening(threading.Thread):
    """Notes the moment from which somebody listens on a port."""

    def __init__(self, port: int) -> None:
        """Look at nothing yet."""
        super().__init__(daemon=True)
        self._port = port
        self.at = float("nan")

    def run(self) -> None:
        """Look until it is so."""
        with contextlib.suppress(TimeoutError):
            until(lambda: listens(self._port))
            self.at = time.monotonic()


def start(seat: Seat) -> Start:
    """Start a user's server."""
    listening = Listening(seat.port)
    begun = time.monotonic()
    listening.start()
    seat.click()
    seat.enter()
    usable = time.monotonic()
    listening.join()
    return Start(usable - begun, usable - listening.at)


def stop(seat: Seat, patience: float = PATIENCE_S) -> float:
    """Stop it; give the seconds until its process is gone and the way to it shut.

    Raises:
        TimeoutError: that is not so after ``patience``.
    """
    process = psutil.Process(listener(seat.port))
    begun = time.monotonic()
    seat.leave()
    until(lambda: has_ended(process), patience)
    until(seat.is_shut, patience)
    took = time.monotonic() - begun
    seat.free()
    return took


def together(seats: Sequence[Seat], act: Callable[[Seat], T]) -> list[T]:
    """Do the same at all seats at once."""
    with ThreadPoolExecutor(len(seats)) as pool:
        return list(pool.map(act, seats))


class Bare:
    """The child alone, as the manager would start it but without its guard: the measure's error."""

    def __init__(self, manager: ManagerProcess, folder: Path, index: int = 0) -> None:
        """Take the place of a manager's row."""
        in_force = settings.load(manager.env)
        row = in_force.ports[index]
        files = workspace.prepare(in_force, f"0-bench{index}")
        self._command = build_command(in_force, row, "cpu", files, "bench", manager.env)
        self._log = folder / f"bare{index}.log"
        self._child: subprocess.Popen[bytes] | None = None
        self.port = row.port

    def click(self) -> None:
        """Start the process."""
        command = self._command
        with self._log.open("wb") as output:
            self._child = subprocess.Popen(
                command.argv, env=command.env, cwd=command.cwd, stdout=output, stderr=output
            )

    def enter(self) -> None:
        """Ask it itself."""
        until(lambda: answers(f"http://{LOOPBACK}:{self.port}/queue"))

    def leave(self) -> None:
        """Send SIGTERM."""
        assert self._child is not None
        self._child.send_signal(signal.SIGTERM)

    def is_shut(self) -> bool:
        """Tell whether the process is gone; nothing else leads to it."""
        return self._child is None or self._child.poll() is not None

    def free(self) -> None:
        """Nothing is to be waited for."""

    def websocket(self) -> websocket.WebSocket:
        """Open one to the child itself."""
        return websocket.create_connection(f"ws://{LOOPBACK}:{self.port}/ws", timeout=30)


class Ours:
    """A user of the manager; his port is known beforehand when he has one assigned."""

    def __init__(self, client: Client, port: int) -> None:
        """Bind to a login."""
        self._client = client
        self.port = port
        self.url = ""

    def click(self) -> None:
        """Press start."""
        self._client.post("/api/user/start")

    def enter(self) -> None:
        """Wait for the link, as it comes to the page, and follow it."""
        begun = time.monotonic()
        state = self._client.state()
        while state["phase"] != "running":
            if time.monotonic() - begun > PATIENCE_S or state["phase"] == "failed":
                raise RuntimeError(f"the child does not run: {state}")
            time.sleep(ASK_S)
            state = self._client.state()
        self.url = state["instance"]["workspace_url"]
        until(lambda: answers(self.url))

    def leave(self) -> None:
        """Press stop."""
        self._client.post("/api/user/stop")

    def is_shut(self) -> bool:
        """Tell whether the gate is closed."""
        try:
            return requests.get(self.url, timeout=5).status_code == HTTPStatus.FORBIDDEN
        except requests.ConnectionError:
            # As Caddy takes over a new configuration a connection may be dropped once.
            return False

    def free(self) -> None:
        """Wait until the port is given back."""
        self._client.until_gone()

    def way(self) -> Workspace:
        """Go through the gate as a browser does."""
        return Workspace(self.url)

    def websocket(self) -> websocket.WebSocket:
        """Open one through the gate."""
        way = self.way()
        try:
            return way.socket()
        finally:
            way.close()
