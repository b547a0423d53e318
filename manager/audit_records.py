"""The audit as it is read: its lines, which of them are wanted, and what a check of them found."""

from __future__ import annotations

from dataclasses import dataclass

from manager.records import AuditEntry


@dataclass(frozen=True)
class AuditLine:
    """A line as it was written: its number, what it says, and its hash."""

    id: int
    entry: AuditEntry
    hash: str


@dataclass(frozen=True)
class AuditFilter:
    """Which lines are wanted; what is empty or None narrows nothing. ``before`` is a number."""

    actor: str = ""
    action: str = ""
    subject: str = ""
    since: float | None = None
    until: float | None = None
    before: int | None = None


@dataclass(frozen=True)
class AuditCheck:
    """What a check of the audit found.

    ``head`` is the hash of the last line that was looked at; ``broken`` the number of the first one
    that does not fit the one before, or is missing at the end; None when all is as it was written.
    """

    lines: int
    head: str
    broken: int | None
