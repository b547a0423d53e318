"""Brings messages to one webhook: what waits, one attempt after the other, and how it goes.

Whoever has something to tell puts it down and goes on. A loop for each hook, so that a slow one
holds up no other; what waits is bounded, and so is how often one message is tried.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from manager.cards.reading import Unreadable
from manager.cards.tool import TOO_LONG, Tools
from manager.webhooks.hooks import Hook
from manager.webhooks.shapes import Message, parcel, refusal

logger = logging.getLogger(__name__)

SENDER = Path(__file__).with_name("sender.py")
LIMIT_S = 30.0
"""For one attempt in all, whatever the receiver does."""

PAUSES_S = (5.0, 30.0, 120.0)
"""Between the attempts for one message: four in all."""

GAP_S = 3.0
"""Between two messages: DingTalk and WeCom take 20 a minute, and DingTalk punishes more."""

MOST_WAITING = 50

Send = Callable[[Hook, Message], str]
"""Sends once; gives nothing when the message was taken, else a word for what went wrong."""


@dataclass(frozen=True)
class Failing:
    """A hook that does not take its messages, since when (UTC epoch seconds) and why."""

    name: str
    kind: str
    since: float
    problem: str


def sending(stopping: Callable[[], bool] = lambda: False) -> Send:
    """Give what sends by a process of its own; it is killed when its time is over."""
    tools = Tools(LIMIT_S, stopping=stopping)

    def send(hook: Hook, message: Message) -> str:
        made = parcel(hook, message, time.time())
        given = {"url": made.url, "body": made.body, "headers": dict(made.headers)}
        tools.begin()
        try:
            # Not as an argument: those can be read by everybody on the machine.
            told = json.loads(
                tools.run((sys.executable, "-I", str(SENDER)), json.dumps(given).encode())
            )
            if "problem" in told:
                return str(told["problem"])
            status = int(told["status"])
        except Unreadable as error:
            return "timeout" if TOO_LONG in str(error) else "failed"
        except (ValueError, LookupError, TypeError):
            return "failed"
        if status // 100 != 2:
            return f"status {status}"
        return refusal(hook.kind, told["answer"])

    return send


class Delivery:
    """What one hook is to be told."""

    def __init__(
        self,
        hook: Hook,
        send: Send | None = None,
        pauses: Sequence[float] = PAUSES_S,
        gap: float = GAP_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Bind; sends nothing yet. ``changed`` is replaced by whoever keeps how it goes."""
        self.hook = hook
        self.changed: Callable[[], None] = lambda: None
        self._stop = threading.Event()
        self._send = send or sending(self._stop.is_set)
        self._pauses, self._gap, self._clock = pauses, gap, clock
        self._waiting: deque[Message] = deque()
        self._wake = threading.Event()
        self._failing: Failing | None = None

    @property
    def failing(self) -> Failing | None:
        """Say since when and why it takes nothing, if so."""
        return self._failing

    @property
    def waiting(self) -> int:
        """Say how many messages wait."""
        return len(self._waiting)

    def resume(self, failing: Failing) -> None:
        """Take over how it went with an earlier manager."""
        self._failing = failing

    def offer(self, message: Message) -> None:
        """Have a message sent and return at once; when too many wait the oldest is dropped."""
        if message.event in self.hook.events:
            while len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                logger.warning("webhook %s: too much waits, the oldest is dropped", self.hook.name)
            self._waiting.append(message)
            self._wake.set()

    def run(self) -> None:
        """Send what waits until ``end``."""
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._waiting and not self._stop.is_set():
                self.deliver(self._waiting.popleft())
                self._stop.wait(self._gap)

    def end(self) -> None:
        """Have the loop end, and an attempt that is under way."""
        self._stop.set()
        self._wake.set()

    def deliver(self, message: Message) -> str:
        """Try until the message is taken or the attempts are used up; give the last problem."""
        problem = ""
        for pause in (*self._pauses, None):
            problem = self._send(self.hook, message)
            if self._stop.is_set():
                break
            self._note(problem)
            if not problem or pause is None or self._stop.wait(pause):
                break
        return problem

    def _note(self, problem: str) -> None:
        before = self._failing
        if problem == (before.problem if before else ""):
            return
        since = before.since if before else self._clock()
        name, kind = self.hook.name, self.hook.kind
        self._failing = Failing(name, kind, since, problem) if problem else None
        if problem:
            logger.warning("webhook %s (%s): not delivered: %s", name, kind, problem)
        else:
            logger.info("webhook %s (%s): delivered again", name, kind)
        self.changed()
