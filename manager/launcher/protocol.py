"""What a launcher offers to the rooms above it: one process tree for one launch id.

The local launcher is the first; an engine on other machines can stand beside it. ``start`` and
``stop`` only begin something, ``poll`` alone says how far it got. Nobody above knows where a launch
runs: where it answers, who listens there and who holds its card are questions to the launcher.

What a launcher cannot tell it must say so: UNKNOWN and None. Above, what is unknown is never ready,
never idle, never gone and never free; it is asked again.
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from manager.launcher.activity import Activity
from manager.records import Address, Node

GUARD = Path(__file__).with_name("guard.py")


class Liveness(Enum):
    """What is known of a launch. UNKNOWN is neither alive nor gone and frees nothing.

    QUEUED is accepted by an engine that has no place for it yet: nothing of it runs. GONE is
    proven; it also is what is said of a launch that was never begun.
    """

    QUEUED = "queued"
    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LaunchSpec:
    """Everything needed to start one ComfyUI.

    ``env`` is the whole environment of the child, not an addition; it never holds a secret. With a
    ``guard`` (the web framework that is guarded, see ``guard.py``) ``argv`` is a Python and its
    script, and ``secret`` what they ask for; it is handed over in a file.
    ``labels`` are kept beside the launch: they tell people whose it is if the database is lost.
    ``port`` is the one it will listen on, 0 for a program that does not; ``user_id`` whose it is,
    0 for nobody's. It may write below ``writable`` and must at least be able to read ``readable``.
    """

    launch_id: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log_max_bytes: int
    labels: Mapping[str, str] = field(default_factory=dict)
    guard: str | None = None
    secret: str | None = field(default=None, repr=False)
    port: int = 0
    user_id: int = 0
    writable: tuple[Path, ...] = ()
    readable: tuple[Path, ...] = ()

    def words(self, secret_file: Path) -> tuple[str, ...]:
        """Give what is run: ``argv``, behind the guard where there is one."""
        if self.guard is None:
            return self.argv
        python, *script = self.argv
        return (python, str(GUARD), self.guard, str(secret_file), *script)


@dataclass(frozen=True)
class ProcessReport:
    """How a launch is.

    ``pid`` is the ComfyUI process itself, None where that is none of this machine's. ``exit_code``
    is negative for a signal, as in ``subprocess``; None while it lives or when nobody saw the end.
    ``supervised`` is false when its supervisor was killed: what is left then is found by its marks
    alone.
    """

    liveness: Liveness
    pid: int | None = None
    exit_code: int | None = None
    supervised: bool = True


@dataclass(frozen=True)
class LaunchFacts:
    """What was noted of a launch before it began; ``since`` in UTC epoch seconds."""

    labels: Mapping[str, str]
    since: float | None


class Launcher(Protocol):
    """The contract; see the module's docstring. Every method may be called from any thread."""

    def start(self, spec: LaunchSpec) -> None:
        """Begin a launch; the same id a second time starts nothing.

        Raises:
            LaunchFailed: it cannot be begun; the message says why, and nothing of it runs.
        """

    def poll(self, launch_id: str) -> ProcessReport:
        """Say how a launch is. Called every second for each: an engine answers from memory."""

    def address(self, launch_id: str) -> Address | None:
        """Say where a launch answers, or will; None while nobody can tell."""

    def answers_itself(self, launch_id: str) -> bool | None:
        """Tell whether it is the launch itself that listens at its address, and nobody else.

        Returns:
            None while nobody listens, or nobody can tell.
        """

    def stop(self, launch_id: str, *, force: bool) -> None:
        """Ask the tree to end (``force`` false) or kill all of it; returns at once."""

    def logs(self, launch_id: str, max_bytes: int) -> str:
        """Give the end of what the instance printed; empty when there is nothing."""

    def describe(self, launch_id: str) -> LaunchFacts:
        """Say what was noted of a launch before it began."""

    def activity(self, launch_id: str) -> Activity | None:
        """Say what its processes have done so far; None where nobody can tell."""

    def taken(self, address: Address) -> bool | None:
        """Tell whether anybody listens at an address of a launch that is gone.

        Returns:
            None where nobody can tell.
        """

    def holders(self, launch_id: str, device: Path) -> builtins.list[int] | None:
        """List who still has a card's device node open where a launch ran that is gone.

        Only those count that may have come from it.

        Returns:
            Process ids on that machine; None where nobody can tell.
        """

    def list(self) -> builtins.list[str] | None:
        """List launch ids whose tree is not known to be gone; None where nobody can tell."""

    def prune(self, keep: int) -> int:
        """Forget launches that are gone, and their logs, all but the newest ``keep``.

        Returns:
            How many were forgotten.
        """

    def probe(self) -> tuple[Node, ...]:
        """Say which machines there are and how well each keeps its instances apart."""
