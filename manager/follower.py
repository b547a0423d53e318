"""Follows the work of instances: asks those at work how far they are, for all who look at a page.

One connection an instance, however many look, and none to those without work: while nobody works
nothing is done here at all. Which ones work the watch knows; it neither waits for this nor hears of
it. One that gives no answer, or nonsense, is asked more and more rarely.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from manager.comfyui import ComfyUI
from manager.errors import ManagerError
from manager.progress import Course, NotSaid, Progress
from manager.records import Instance
from manager.states import State

logger = logging.getLogger(__name__)

GAP_S = 0.5
"""Between two questions to one instance."""

SHARE_S = 0.01
"""Between two questions to any, on average: with very many at work each is asked more rarely."""

WORKERS = 4
LONGEST_REST_S = 8.0
"""After answers that were none."""

UNKNOWN_S = 10.0
"""Before one is asked again that cannot tell."""


class Seen(Protocol):
    """What is asked of the watch's reading."""

    @property
    def running(self) -> int | None:
        """Jobs being worked on, None when unknown."""


class Watch(Protocol):
    """What knows who is at work."""

    def reading(self, port: int, /) -> Seen | None:
        """Give what was seen last on a port; None when nothing was."""


class _Followed:
    """An instance at work. Written by one thread at a time: whoever has it ``in_flight``."""

    def __init__(self, now: float) -> None:
        self.row: Instance | None = None
        self.course = Course("", now)
        self.due = now
        self.in_flight = False
        self.failures = 0
        self.user_id = 0


class Follower:
    """The loop; ``changed`` tells it where to look, ``progress`` gives what it knows."""

    def __init__(
        self,
        comfyui: ComfyUI,
        instance: Callable[[int], Instance],
        watch: Watch,
        publish: Callable[[frozenset[int], frozenset[int]], None],
        slowdown: Callable[[], int] = lambda: 1,
    ) -> None:
        """Bind.

        Args:
            comfyui: asks.
            instance: gives a port's row.
            watch: knows who is at work.
            publish: is told of ports and users of which there is something new.
            slowdown: says how many times more rarely to ask because the machine is busy.
        """
        self._comfyui, self._instance, self._watch = comfyui, instance, watch
        self._publish, self._slowdown = publish, slowdown
        self._followed: dict[int, _Followed] = {}
        self._noted: dict[int, str] = {}
        self._wake = threading.Event()
        self._pool = ThreadPoolExecutor(WORKERS, "progress")

    def progress(self, port: int) -> Progress | None:
        """Give how far the work on a port is; None when there is none, or nobody knows."""
        followed = self._followed.get(port)
        return followed.course.progress(time.monotonic()) if followed is not None else None

    def changed(self, ports: frozenset[int], _users: frozenset[int]) -> None:
        """Take note of what the watch found out; any thread, returns at once."""
        for port in ports:
            seen = self._watch.reading(port)
            if seen is None or seen.running == 0:
                self._followed.pop(port, None)
            elif seen.running and port not in self._followed:
                self._followed[port] = _Followed(time.monotonic())
                self._wake.set()

    def run(self, stop: threading.Event) -> None:
        """Ask until told to stop; ``wake`` ends a wait."""
        while not stop.is_set():
            self._wake.wait(self.begin_due(time.monotonic()))
            self._wake.clear()
        self._pool.shutdown(wait=True)

    def wake(self) -> None:
        """End the wait for work."""
        self._wake.set()

    def begin_due(self, now: float) -> float | None:
        """Begin what is due at ``now`` (monotonic seconds); say after how long to come again.

        Returns:
            None while nobody works: the watch's word is waited for.
        """
        followed = list(self._followed.items())
        for port, one in followed:
            if now < one.due:
                continue
            one.due = now + self._gap(len(followed))
            if not one.in_flight:
                one.in_flight = True
                self._pool.submit(self._ask, port, one)
        if not followed:
            return None
        return max(0.0, min(one.due for _, one in followed) - time.monotonic())

    def _gap(self, at_work: int) -> float:
        return max(GAP_S, SHARE_S * at_work) * self._slowdown()

    def _ask(self, port: int, one: _Followed) -> None:
        try:
            row = one.row or self._instance(port)
            if row.state is not State.RUNNING or row.address is None or row.launch_id is None:
                self._followed.pop(port, None)
                return
            if row.launch_id != one.course.launch_id:
                one.course = Course(row.launch_id, time.monotonic())
                one.user_id = row.user_id or 0
            said = self._comfyui.progress(row.address, row.secret)
            if one.course.take(said, time.monotonic()):
                self._publish(frozenset({port}), frozenset({one.user_id}))
            one.row, one.failures = row, 0
            if said.unknown:
                one.due = time.monotonic() + UNKNOWN_S
                self._note(port, one, said.unknown)
        except (NotSaid, ManagerError) as error:
            self._rest(port, one, error)
        finally:
            one.in_flight = False

    def _rest(self, port: int, one: _Followed, error: Exception) -> None:
        # Another launch may have the port by now.
        one.row = None
        one.failures += 1
        one.due = time.monotonic() + rest_s(one.failures)
        self._note(port, one, str(error))
        if one.course.miss():
            self._publish(frozenset({port}), frozenset({one.user_id}))

    def _note(self, port: int, one: _Followed, problem: str) -> None:
        launch_id = one.course.launch_id
        if self._noted.get(port) != launch_id:
            self._noted[port] = launch_id
            logger.info("端口 %d: how far its work is cannot be told: %s", port, problem)


def rest_s(failures: int) -> float:
    """Say how long one rests that has given no answer so many times, in seconds."""
    return min(LONGEST_REST_S, GAP_S * 2.0 ** min(failures, 10))
