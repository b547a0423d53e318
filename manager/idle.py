"""The idle verdict: what holds a session, how long it may still do nothing, whether that is over.

Pure. A running or waiting job holds it always. What is unknown never ends anybody's work: a queue
that gives no answer is neither busy nor idle, and a signal that cannot tell just now is left out
and named, so that people know what the verdict rests on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from manager.settings import Settings

QUEUE, SILENCE = "queue", "silence"
WORKSPACE, CARD = "workspace", "card"
EXTENDED, AWAKE = "extended", "awake"
"""What may hold a session: work, doubt, the two signs of use, and what a user has asked for."""


@dataclass(frozen=True)
class Rules:
    """By what is judged; times in seconds, ``warning`` the percent of the limit to warn after."""

    limit: float
    signals: tuple[str, ...]
    signals_max: float
    warning: int

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Take them from the settings."""
        return cls(
            settings.idle_timeout,
            settings.idle_signals,
            settings.idle_signals_max,
            settings.idle_warning,
        )


@dataclass(frozen=True)
class Evidence:
    """What is known at one moment; times in seconds.

    ``busy`` and ``answered`` tell of the last question to the queue, ``idle`` how long it has been
    empty. ``ages`` is how long ago each signal was seen last, ``unknown`` which of them cannot tell
    now. ``held`` is how long an extension or an announcement (``holder``) still holds the session.
    """

    busy: bool
    answered: bool
    idle: float
    ages: Mapping[str, float] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    held: float = 0.0
    holder: str = ""


@dataclass(frozen=True)
class Verdict:
    """What follows; times in seconds.

    ``by`` is what holds the session, empty when nothing does: then the time since the last job
    counts. ``idle`` is what counts towards the limit; ``left`` is None while nothing counts down.
    """

    by: str
    idle: float
    left: float | None
    unknown: tuple[str, ...] = ()
    warns: bool = False

    @property
    def over(self) -> bool:
        """Tell whether the session is to be ended."""
        return self.left == 0


def judge(evidence: Evidence, rules: Rules) -> Verdict:
    """Weigh what is known."""
    if evidence.busy:
        return Verdict(QUEUE, 0.0, None, evidence.unknown)
    idle, by = _since_last_sign(evidence, rules)
    if not evidence.answered:
        return Verdict(SILENCE, idle, None, evidence.unknown)
    left = max(0.0, rules.limit - idle)
    if evidence.held > left:
        left, by = evidence.held, evidence.holder
    warns = rules.warning < 100 and left <= rules.limit * (100 - rules.warning) / 100
    return Verdict(by, idle, left, evidence.unknown, warns)


def _since_last_sign(evidence: Evidence, rules: Rules) -> tuple[float, str]:
    """Give how long ago the last sign was that counts, and which."""
    idle, by = evidence.idle, ""
    if rules.signals_max and evidence.idle >= rules.signals_max:
        # A page that asks for pictures by itself, or a card that never rests, holds nothing for
        # ever.
        return idle, by
    for signal in rules.signals:
        age = evidence.ages.get(signal, idle)
        if age < idle:
            idle, by = age, signal
    return idle, by
