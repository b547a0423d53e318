"""Questions to one ComfyUI over HTTP: what is in its queue, is it the one we started.

An answer that is late, broken or not what ComfyUI would say is «unknown»: never idle, never dead.
So is that of an instance of which nobody knows where it answers.
Routes as ComfyUI serves them: ``GET /queue`` gives ``queue_running`` and ``queue_pending``, lists
of whole graphs; ``GET /system_stats`` gives ``system.argv``.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from enum import Enum

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from manager.records import GUARD_HEADER, Address

TIMEOUT_S = 0.5
"""For connecting and for each wait for bytes: well below the time between two checks."""

TOTAL_S = 2.0
"""For a whole answer, against one that drips."""

BODY_LIMIT = 64 << 20
"""Bytes of an answer that are read at most; a graph of hundreds of nodes has some 0.2 MB."""

CACHE_S = 0.5
"""Age up to which an answer serves again."""

_CHUNK = 1 << 16
_UNUSABLE = (requests.RequestException, HTTPError, ValueError)


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


@dataclass
class _Last:
    at: float
    body: bytes
    answer: QueueAnswer


class ComfyUI:
    """The client for every instance."""

    def __init__(self, ports: int) -> None:
        """Prepare connections to ``ports`` different addresses, kept open between checks."""
        self._session = requests.Session()
        # Else a proxy from the environment would catch the checks, and each reads netrc.
        self._session.trust_env = False
        self._session.headers["Accept-Encoding"] = "identity"
        # The default keeps connections to 10 ports; from the 11th on every check would connect.
        self._session.mount("http://", HTTPAdapter(pool_connections=ports + 8, pool_maxsize=4))
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
            body = self._get(address, "/queue", secret)
        except _UNUSABLE as error:
            return QueueAnswer(Work.UNKNOWN, problem=type(error).__name__)
        # ComfyUI prints the same queue as the same bytes, and comparing 0.2 MB costs a hundredth
        # of parsing it.
        answer = last.answer if last and last.body == body else _parse_queue(body)
        with self._lock:
            self._last[address] = _Last(time.monotonic(), body, answer)
        return answer

    def refuses_strangers(self, address: Address) -> bool | None:
        """Ask without a secret and tell whether that is refused; None when there is no answer."""
        try:
            with self._session.get(
                _url(address, "/queue"), timeout=TIMEOUT_S, stream=True, allow_redirects=False
            ) as response:
                return response.status_code == int(requests.codes.forbidden)
        except _UNUSABLE:
            return None

    def forget(self, address: Address | None) -> None:
        """Drop what was kept of an instance that has ended."""
        with self._lock:
            if address is not None:
                self._last.pop(address, None)

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def last_work_at(self, address: Address | None, secret: str | None) -> float | None:
        """Tell when the newest job in the history ended or began, in UTC epoch seconds.

        ``GET /history?max_items=1`` gives the newest entry; its messages carry milliseconds. Jobs
        shorter than the time between two checks are seen here only. None: no job, or unknown.
        """
        if address is None:
            return None
        try:
            history = json.loads(self._get(address, "/history?max_items=1", secret))
            entries = [entry["status"]["messages"] for entry in history.values()]
            stamps = [m[1]["timestamp"] for messages in entries for m in messages]
            return max(float(stamp) for stamp in stamps) / 1000 if stamps else None
        except (*_UNUSABLE, LookupError, TypeError, AttributeError):
            return None

    def _get(self, address: Address, path: str, secret: str | None) -> bytes:
        deadline = time.monotonic() + TOTAL_S
        headers = {GUARD_HEADER: secret} if secret else None
        with self._session.get(
            _url(address, path),
            headers=headers,
            timeout=TIMEOUT_S,
            stream=True,
            allow_redirects=False,
        ) as response:
            if response.status_code != requests.codes.ok:
                raise ValueError(response.status_code)
            body = bytearray()
            # One piece as it comes: ``iter_content`` would wait until a whole chunk is there.
            while chunk := response.raw.read1(_CHUNK):
                body += chunk
                if len(body) > BODY_LIMIT or time.monotonic() > deadline:
                    raise ValueError("too much or too slow")
        return bytes(body)


def _url(address: Address, path: str) -> str:
    return f"{address.scheme}://{address.authority}{path}"


def _parse_queue(body: bytes) -> QueueAnswer:
    try:
        content = json.loads(body)
        running, pending = content["queue_running"], content["queue_pending"]
    except (ValueError, KeyError, TypeError):
        return QueueAnswer(Work.UNKNOWN, problem="not a queue")
    if not isinstance(running, list) or not isinstance(pending, list):
        return QueueAnswer(Work.UNKNOWN, problem="not a queue")
    work = Work.BUSY if running or pending else Work.IDLE
    return QueueAnswer(work, len(running), len(pending))
