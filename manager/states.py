"""The states of an instance and the only moves between them. Pure: no clock, no file, no thread.

``advance`` is called by ``lifecycle`` alone; the database repeats the rule with a CHECK on the
column and with partial unique indexes over ``HOLDS_PORT``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from manager.errors import IllegalTransition


class _Word(str, Enum):
    """A word that prints as itself (``enum.StrEnum`` is not in Python 3.10)."""

    def __str__(self) -> str:
        """Give the bare value, as stored and sent."""
        return str(self.value)


class State(_Word):
    """What a port's row says. The values are the ``status`` column's values."""

    IDLE = "idle"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"


class Event(_Word):
    """What happened to an instance."""

    START = "start"
    ANSWERED = "answered"
    STOP = "stop"
    OVERDUE = "overdue"
    DIED = "died"
    GONE = "gone"
    GONE_FAULTY = "gone_faulty"


HOLDS_PORT = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
"""States in which the port and its card belong to somebody."""

STARTABLE = frozenset({State.IDLE, State.FAILED})
"""States from which a start may be asked."""

STOPPABLE = frozenset({State.STARTING, State.RUNNING})
"""States from which a stop may be asked."""

TRANSITIONS: Mapping[tuple[State, Event], State] = {
    (State.IDLE, Event.START): State.STARTING,
    (State.FAILED, Event.START): State.STARTING,
    (State.STARTING, Event.ANSWERED): State.RUNNING,
    (State.STARTING, Event.STOP): State.STOPPING,
    (State.RUNNING, Event.STOP): State.STOPPING,
    (State.STARTING, Event.OVERDUE): State.STOPPING,
    (State.STARTING, Event.DIED): State.FAILED,
    (State.RUNNING, Event.DIED): State.FAILED,
    (State.STOPPING, Event.GONE): State.IDLE,
    (State.STOPPING, Event.GONE_FAULTY): State.FAILED,
}


def advance(state: State, event: Event) -> State:
    """Say where ``event`` leads from ``state``.

    Raises:
        IllegalTransition: the table does not know the pair.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"no way from {state} by {event}") from None


def actions(state: State) -> list[str]:
    """Name the buttons a page may show for ``state``: ``start``, ``stop``, ``open``."""
    names = []
    if state in STARTABLE:
        names.append("start")
    if state in STOPPABLE:
        names.append("stop")
    if state is State.RUNNING:
        names.append("open")
    return names
