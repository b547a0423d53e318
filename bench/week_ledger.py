"""What is noted of a simulated week from outside: what differs, what became of wishes, sums."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.week import Wish


@dataclass(frozen=True)
class Scenario:
    """What differs: settings, whether assigned ports count, whether people are always there."""

    name: str
    line_start: str = "claim"
    assigned: bool = True
    attentive: bool = False


@dataclass
class Asked:
    """What became of a wish. Times in seconds of the week."""

    wish: Wish
    attempt: int = 0
    joined_at: float | None = None
    turn_at: float | None = None
    started_at: float | None = None
    over: str | None = None
    shown: tuple[float, float] | None = None
    """The estimate on the page when he first joined the line, as seconds from then."""

    first_turn: float | None = None
    """How long after that his first turn came."""

    @property
    def wait(self) -> float | None:
        """Say how long he waited for his start; None without one."""
        return None if self.started_at is None else self.started_at - self.wish.at


@dataclass
class Outcome:
    """What a run has found."""

    asked: list[Asked] = field(default_factory=list)
    busy_already: int = 0
    double_holds: int = 0
    starved: int = 0
    passed_over: int = 0
    longest_pass: float = 0.0
    held: float = 0.0
    kept: float = 0.0
    wasted: float = 0.0
    sessions: int = 0
    missed_turns: int = 0
