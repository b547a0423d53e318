"""Questions to one ComfyUI over HTTP: what is in its queue, is it the one we started.

An answer that is late, broken or not what ComfyUI would say is «unknown»: never idle, never dead.
So is that of an instance of which nobody knows where it answers.
Routes as ComfyUI serves them: ``GET /queue`` gives ``queue_running`` and ``queue_pending``, lists
of whole graphs; ``GET /prompt`` gives ``exec_info.queue_remaining``, the length of both together.
That anything is idle is taken from a whole queue alone. The short route only confirms that a long
queue is as long as it was, so that nobody has to print and read megabytes each second.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from dataclasses import dataclass, replace
from enum import Enum
from http import HTTPStatus
from pathlib import Path

from manager.connections import TIMEOUT_S, TOTAL_S, UNUSABLE, Bounds, Connections, TooLong
from manager.progress import LONGEST_SAID, NotSaid, Said, parse
from manager.prompts import MOST_BYTES
from manager.records import PROGRESS_PATH, Address

CACHE_S = 0.5
"""Age up to which an answer serves again."""

LONG_BYTES = 1 << 16
"""Length from which a queue is a long one; of such only a digest is kept for comparing."""

WHOLE_S = 10.0
"""Age from which a long queue is asked for again at the latest though its length is the same."""


LONG = Bounds(bytes=MOST_BYTES, wait_s=1.5, total_s=2.5)
"""For what is read once, before an end."""

SHORT = Bounds(LONGEST_SAID, TIMEOUT_S, TOTAL_S)
"""For what is short, from whoever may say what he likes."""

ORDER = Bounds(bytes=1 << 20, wait_s=10.0, total_s=10.0)
"""For an order; ComfyUI checks a whole graph before it answers."""

NEWEST = (100, 10)
"""Prompts of the history that are asked for; each is printed with its graph."""


class Work(Enum):
    """What an answer says."""

    IDLE = "idle"
    BUSY = "busy"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class QueueAnswer:
    """One answer to ``GET /queue``. Counts are None when unknown; ``problem`` says why."""

    work: Work
    running: int | None = None
    pending: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _Last:
    """``whole_at`` is when a whole queue was last asked for; ``is_long`` only what is busy."""

    at: float
    whole_at: float
    content: bytes | None
    answer: QueueAnswer
    is_long: bool

    @property
    def jobs(self) -> int:
        return (self.answer.running or 0) + (self.answer.pending or 0)


class ComfyUI:
    """The client for every instance."""

    def __init__(self, ports: int, authority: Path | None = None) -> None:
        """Prepare connections to ``ports`` different addresses, kept open between checks.

        ``authority`` is the certificate that instances reached by https are checked with.
        """
        self._connections = Connections(ports, authority)
        self._for_progress = Connections(ports, authority)
        self._last: dict[Address, _Last] = {}
        self._lock = threading.Lock()

    def queue(
        self, address: Address | None, secret: str | None, *, fresh: bool = False
    ) -> QueueAnswer:
        """Ask what runs and waits; an answer younger than ``CACHE_S`` serves unless ``fresh``.

        ``secret`` is the instance's own: make sure that nobody else listens there.
        """
        if address is None:
            return QueueAnswer(Work.UNKNOWN, problem="no address")
        now = time.monotonic()
        with self._lock:
            last = self._last.get(address)
        if last and not fresh and now - last.at < CACHE_S:
            return last.answer
        try:
            new = self._look(address, secret, last, now)
        except UNUSABLE as error:
            return QueueAnswer(Work.UNKNOWN, problem=type(error).__name__)
        with self._lock:
            self._last[address] = new
        return new.answer

    def _look(self, address: Address, secret: str | None, last: _Last | None, now: float) -> _Last:
        if last and last.is_long and now - last.whole_at < _whole_after(address):
            jobs = self._jobs(address, secret)
            if jobs == last.jobs:
                return replace(last, at=time.monotonic())
        try:
            body = self._connections.body(address, "/queue", secret)
        except TooLong:
            answer, is_long, content = _too_long(self._jobs(address, secret)), True, None
        else:
            is_long = len(body) >= LONG_BYTES
            content = hashlib.blake2b(body).digest() if is_long else body
            # ComfyUI prints the same queue as the same bytes, and comparing costs a tenth of
            # parsing or less.
            same = last is not None and last.content == content
            answer = last.answer if last and same else _parse_queue(body)
        at = time.monotonic()
        return _Last(at, at, content, answer, is_long=is_long and answer.work is Work.BUSY)

    def _jobs(self, address: Address, secret: str | None) -> int | None:
        """Ask by the short route how many jobs run and wait together; None: it does not say."""
        try:
            said = json.loads(self._connections.body(address, "/prompt", secret))
            jobs = said["exec_info"]["queue_remaining"]
        except (ValueError, LookupError, TypeError, RecursionError):
            return None
        return jobs if type(jobs) is int else None

    def refuses_strangers(self, address: Address) -> bool | None:
        """Ask without a secret and tell whether that is refused; None when there is no answer."""
        try:
            return self._connections.status(address, "/queue") == HTTPStatus.FORBIDDEN
        except UNUSABLE:
            return None

    def forget(self, address: Address | None) -> None:
        """Drop what was kept of an instance that has ended."""
        if address is None:
            return
        with self._lock:
            self._last.pop(address, None)
        self._connections.forget(address)
        self._for_progress.forget(address)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._connections.close()
        self._for_progress.close()

    def last_work_at(self, address: Address | None, secret: str | None) -> float | None:
        """Tell when the newest job in the history ended or began, in UTC epoch seconds.

        ``GET /history?max_items=1`` gives the newest entry; its messages carry milliseconds. Jobs
        shorter than the time between two checks are seen here only. None: no job, or unknown.
        """
        if address is None:
            return None
        try:
            history = json.loads(self._connections.body(address, "/history?max_items=1", secret))
            entries = [entry["status"]["messages"] for entry in history.values()]
            stamps = [m[1]["timestamp"] for messages in entries for m in messages]
            return max(float(stamp) for stamp in stamps) / 1000 if stamps else None
        except (*UNUSABLE, LookupError, TypeError, AttributeError, RecursionError):
            return None

    def whole_queue(self, address: Address | None, secret: str | None) -> bytes | None:
        """Give a queue as it is printed, however long; None when there is no usable answer."""
        return self._long(address, "/queue", secret)

    def last_queue(self, address: Address | None) -> bytes | None:
        """Give the queue that was seen last, if it had work and was short enough to be kept."""
        with self._lock:
            last = self._last.get(address) if address else None
        busy = last is not None and last.answer.work is Work.BUSY and not last.is_long
        return last.content if last and busy else None

    def newest(self, address: Address | None, secret: str | None) -> bytes | None:
        """Give what finished last as it is printed: of ``NEWEST`` as many as can be read."""
        for most in NEWEST:
            found = self._long(address, f"/history?max_items={most}", secret)
            if found is not None:
                return found
        return None

    def _long(self, address: Address | None, path: str, secret: str | None) -> bytes | None:
        if address is None:
            return None
        try:
            return self._connections.body(address, path, secret, LONG)
        except UNUSABLE:
            return None

    def free(self, address: Address | None, secret: str | None) -> bool:
        """Ask to unload models and free memory, which ComfyUI does between two jobs."""
        order = json.dumps({"unload_models": True, "free_memory": True}).encode()
        answer = self._post(address, "/free", secret, order, LONG)
        return answer is not None and answer[0] == HTTPStatus.OK

    def send(
        self, address: Address | None, secret: str | None, prompt: bytes
    ) -> tuple[int, bytes] | None:
        """Send a prompt, once; give status and answer, None when nobody can tell what came of it.

        ``prompt`` is the body of ``POST /prompt``.
        """
        return self._post(address, "/prompt", secret, prompt, ORDER)

    def _post(
        self,
        address: Address | None,
        path: str,
        secret: str | None,
        content: bytes,
        bounds: Bounds,
    ) -> tuple[int, bytes] | None:
        if address is None:
            return None
        try:
            return self._connections.post(address, path, secret, content, bounds)
        except UNUSABLE:
            return None

    def finished(self, address: Address | None, secret: str | None, most: int) -> list[str] | None:
        """List the ``most`` prompts that finished last, in that order; None when unknown.

        ``GET /history?max_items=N`` gives them by id. What was only taken out of the queue is not
        among them, what failed or was interrupted is.
        """
        if address is None:
            return None
        try:
            history = json.loads(
                self._connections.body(address, f"/history?max_items={most}", secret)
            )
        except (*UNUSABLE, RecursionError):
            return None
        return list(history) if isinstance(history, dict) else None

    def progress(self, address: Address, secret: str | None) -> Said:
        """Ask how far the work is that goes on now; over a connection of its own.

        Raises:
            NotSaid: there is no answer, or none that says it.
        """
        try:
            body = self._for_progress.body(address, PROGRESS_PATH, secret, SHORT)
        except UNUSABLE as error:
            if error.args == (HTTPStatus.NOT_FOUND,):
                return Said(unknown="it was started before there was such a question")
            raise NotSaid(type(error).__name__) from None
        return parse(body)


def _whole_after(address: Address) -> float:
    """Spread what began together, as after a restart: seconds, from half of ``WHOLE_S`` on."""
    return WHOLE_S * (1 - address.port % 8 / 16)


def _too_long(jobs: int | None) -> QueueAnswer:
    """Say what is known of a queue too long to be read, by the number of its jobs alone."""
    if not jobs or jobs < 0:
        # Long and empty cannot be: somebody errs.
        return QueueAnswer(Work.UNKNOWN, problem="too long")
    # ComfyUI works on one job at a time.
    return QueueAnswer(Work.BUSY, 1, jobs - 1)


def _parse_queue(body: bytes) -> QueueAnswer:
    try:
        content = json.loads(body)
        running, pending = content["queue_running"], content["queue_pending"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return QueueAnswer(Work.UNKNOWN, problem="not a queue")
    if not isinstance(running, list) or not isinstance(pending, list):
        return QueueAnswer(Work.UNKNOWN, problem="not a queue")
    work = Work.BUSY if running or pending else Work.IDLE
    return QueueAnswer(work, len(running), len(pending))
