"""What a check found. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

OK, WARNING, PROBLEM = "ok", "warning", "problem"
LEVELS = (OK, WARNING, PROBLEM)
"""From good to bad. A problem stands in somebody's way; a warning may, one day."""


@dataclass(frozen=True)
class Finding:
    """One line: the check, how bad, the sentence (``doctor.<check>.<case>``), its details."""

    check: str
    level: str
    case: str
    params: dict[str, object] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Give the sentence's key."""
        return f"doctor.{self.check}.{self.case}"


def worst(findings: Iterable[Finding]) -> str:
    """Give the worst level among them."""
    return max((one.level for one in findings), key=LEVELS.index, default=OK)
