"""What an engine of a cluster offers to the launcher that uses it: jobs on the cards of its nodes.

An engine places jobs and ends them; what a job is (a supervisor and the ComfyUI below it), where it
answers and whether its tree is gone are the launcher's to know, from what the supervisor writes on
the storage that all nodes share. So this is small, and the same for each engine.

Whatever an engine cannot tell it says as None or UNKNOWN. A job that an engine has forgotten is
ABSENT, which proves nothing: an engine whose head was lost has forgotten jobs that still run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class JobState(Enum):
    """How a job is, as far as its engine says."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Job:
    """One job to place. Everybody who may ask the engine can read all of it: no secret is in it.

    ``name`` is the launch id and tells the job from all others; ``words`` the program and its
    arguments; ``env`` is added to what the engine sets, among it the card's variable. ``node`` is
    the engine's name of the machine it must run on, None for any; ``cards`` how many of ``kind``
    (``ascend``, ``cuda``, ``rocm`` or ``cpu``) it needs; ``folder`` where it keeps its files, on
    storage that all nodes share.
    """

    name: str
    words: tuple[str, ...]
    env: Mapping[str, str]
    folder: str
    node: str | None = None
    cards: int = 1
    kind: str = "ascend"
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class JobReport:
    """How a job is, the node it was placed on, the address of that node, and why it waits or ended.

    ``why`` is the engine's own sentence, for people.
    """

    state: JobState
    node: str | None = None
    host: str | None = None
    why: str = ""


@dataclass(frozen=True)
class EngineNode:
    """A machine of the cluster: its cards by kind, and how many of them jobs hold.

    ``host`` is the address others reach it by. ``alive`` and ``held`` are None where nobody can
    tell.
    """

    name: str
    host: str
    alive: bool | None
    cards: Mapping[str, int]
    held: Mapping[str, int] | None = None
    why: str = ""


@dataclass(frozen=True)
class EngineFacts:
    """What an engine says of itself: its kind, version, whether it asks who asks, and its nodes."""

    kind: str
    version: str
    guarded: bool
    nodes: tuple[EngineNode, ...]


class Engine(Protocol):
    """The contract; every method may be called from any thread, and waits within hard bounds."""

    def submit(self, job: Job) -> None:
        """Hand a job in; one of the same name a second time starts nothing.

        Raises:
            LaunchFailed: the engine refused it, and nothing of it will run.
            EngineSilent: nobody can tell whether it was taken.
        """

    def look(self) -> Mapping[str, JobReport] | None:
        """Say how all jobs of this manager are, in one question; None: the engine does not say."""

    def cancel(self, name: str, *, force: bool) -> None:
        """Ask the engine to end a job; it returns at once, and what is unknown is left alone."""

    def logs(self, name: str, max_bytes: int) -> str:
        """Give the end of what the engine itself kept of a job's output, for people."""

    def forget(self, name: str) -> None:
        """Have the engine forget a job that has ended; worth no failure."""

    def probe(self) -> EngineFacts | None:
        """Say what the engine and its nodes are; None: it does not answer."""
