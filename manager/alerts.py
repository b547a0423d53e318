"""What an admin has to be told, worked out of what was seen, each thing once until it is over.

Pure. A thing must hold for a while before it is told, and be gone for a while before it is over;
where it is a number, the end has a threshold of its own, so that one that swings around the first
is not told again and again. What nobody can tell neither begins nor ends anything. Thresholds are
those of ``deploy/prometheus-alerts.yml`` where a setting does not give them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

EVENTS = (
    *("ports_full", "line_long", "port_held_back", "crash_loop"),
    *("disk_low", "gate_down", "certificate_ends", "backup_failed", "unclean_end"),
)

MINUTE_S, DAY_S = 60.0, 86_400.0
CRASHES, CRASH_WINDOW_S = 3, 1800.0
CERTIFICATE_S = 21 * DAY_S
DISK_BAND = 1.2
"""So many times the threshold must be free before a disk that was low is not any more."""

Key = tuple[str, str]


@dataclass(frozen=True)
class Rule:
    """How many seconds a thing must hold to be told, and be gone to be over."""

    rise_s: float = 0.0
    fall_s: float = 0.0


@dataclass(frozen=True)
class Thresholds:
    """What the settings say; 0 is never. ``disk_free`` in bytes, ``full_s`` in seconds."""

    full_s: float
    line_length: int
    disk_free: int

    def rules(self) -> Mapping[str, Rule]:
        """Give the rule of each event."""
        return {
            "ports_full": Rule(self.full_s, MINUTE_S),
            "line_long": Rule(5 * MINUTE_S, 5 * MINUTE_S),
            "port_held_back": Rule(),
            "crash_loop": Rule(),
            "disk_low": Rule(MINUTE_S, 5 * MINUTE_S),
            "gate_down": Rule(MINUTE_S, MINUTE_S / 2),
            "certificate_ends": Rule(),
            "backup_failed": Rule(),
        }


@dataclass(frozen=True)
class Facts:
    """The house at one moment.

    ``full`` and ``line`` are None while they mean nothing, as under maintenance; ``disk_free``
    (bytes) and ``certificate_left`` (seconds) where nobody can tell. ``crashes`` counts by user the
    unhappy ends within ``CRASH_WINDOW_S``; ``held_back`` gives reasons by port, ``backup_problem``
    why the last backup failed that the manager made by itself.
    """

    full: bool | None
    ports: int
    line: int | None
    held_back: Mapping[int, str]
    crashes: Mapping[str, int]
    disk_free: int | None
    gate_up: bool
    certificate_left: float | None
    backup_problem: str = ""


@dataclass(frozen=True)
class Seen:
    """One thing that was looked at; ``holds`` None: nobody can tell."""

    event: str
    holds: bool | None
    subject: str = ""
    numbers: Mapping[str, object] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Give what tells it from all others."""
        return self.event, self.subject


@dataclass(frozen=True)
class Told:
    """What is told: it has begun, or it is ``over``. ``since`` and ``at`` in UTC epoch seconds."""

    event: str
    subject: str
    over: bool
    since: float
    at: float
    numbers: Mapping[str, object] = field(default_factory=dict)


def observe(facts: Facts, limits: Thresholds, active: Iterable[Key]) -> list[Seen]:
    """Say what holds of all that can be told. What is ``active`` must have gone further to end."""
    told = set(active)
    seen: list[Seen] = []
    if limits.full_s:
        numbers = {"ports": facts.ports, "minutes": round(limits.full_s / MINUTE_S)}
        seen.append(Seen("ports_full", facts.full, "", numbers))
    if limits.line_length:
        least = limits.line_length // 2 if ("line_long", "") in told else limits.line_length
        holds = None if facts.line is None else facts.line > least
        seen.append(Seen("line_long", holds, "", {"waiting": facts.line}))
    if limits.disk_free:
        least = int(limits.disk_free * (DISK_BAND if ("disk_low", "") in told else 1))
        free = facts.disk_free
        room = {} if free is None else {"free_gib": round(free / (1 << 30), 1)}
        seen.append(Seen("disk_low", None if free is None else free < least, "", room))
    for port, reason in facts.held_back.items():
        seen.append(Seen("port_held_back", True, str(port), {"port": port, "reason": reason}))
    for user, count in facts.crashes.items():
        holds = count >= (1 if ("crash_loop", user) in told else CRASHES)
        numbers = {"count": count, "minutes": round(CRASH_WINDOW_S / MINUTE_S)}
        seen.append(Seen("crash_loop", holds, user, numbers))
    seen.append(Seen("gate_down", not facts.gate_up))
    left = facts.certificate_left
    if left is not None:
        days = {"days": max(0, int(left // DAY_S))}
        seen.append(Seen("certificate_ends", left < CERTIFICATE_S, "", days))
    why = {"reason": facts.backup_problem}
    seen.append(Seen("backup_failed", bool(facts.backup_problem), "", why))
    return seen


@dataclass
class _State:
    """``since`` (monotonic seconds): for how long it has been otherwise than it is told."""

    since: float | None = None
    told: Told | None = None


class Alerts:
    """What is told and not over yet."""

    def __init__(self, rules: Mapping[str, Rule], active: Iterable[Told] = ()) -> None:
        """Begin with what an earlier manager told and did not end."""
        self._rules = rules
        self._states = {(one.event, one.subject): _State(told=one) for one in active}

    @property
    def active(self) -> list[Told]:
        """List what was told and is not over."""
        return [one.told for one in self._states.values() if one.told is not None]

    def step(self, now: float, at: float, seen: Sequence[Seen]) -> list[Told]:
        """Take what was seen and give what is to be told.

        Args:
            now: monotonic seconds.
            at: the same moment in UTC epoch seconds.
            seen: what was looked at; what is missing does not hold.
        """
        by_key = {one.key: one for one in seen if one.event in self._rules}
        news = []
        for key in [*by_key, *(key for key in self._states if key not in by_key)]:
            one = by_key.get(key) or Seen(key[0], False, key[1])
            told = self._take(now, at, one)
            if told is not None:
                news.append(told)
        return news

    def _take(self, now: float, at: float, seen: Seen) -> Told | None:
        state = self._states.setdefault(seen.key, _State())
        if seen.holds is None or seen.holds is (state.told is not None):
            state.since = None
        elif state.since is None:
            state.since = now
        told = None if state.since is None else self._due(state, now - state.since, at, seen)
        if state.told is None and state.since is None:
            del self._states[seen.key]
        return told

    def _due(self, state: _State, lasted: float, at: float, seen: Seen) -> Told | None:
        rule, begun = self._rules.get(seen.event, Rule()), state.told
        if lasted < (rule.rise_s if begun is None else rule.fall_s):
            return None
        state.since = None
        if begun is None:
            state.told = Told(seen.event, seen.subject, False, at - lasted, at, seen.numbers)
            return state.told
        state.told = None
        return Told(seen.event, seen.subject, True, begun.since, at, begun.numbers)
