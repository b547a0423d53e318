"""What the pages ask of the audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from manager.audit_records import AuditCheck, AuditFilter, AuditLine


class Audit(Protocol):
    """The audit, for reading."""

    def page(self, wanted: AuditFilter, count: int, /) -> Sequence[AuditLine]:
        """Give the newest lines that fit, newest first."""

    def oldest_first(self, wanted: AuditFilter, most: int, /) -> Sequence[AuditLine]:
        """Give what fits in the order it was written; the newest ``most`` lines."""

    def actions(self) -> Sequence[str]:
        """List the kinds of lines there are."""

    def verify(self) -> AuditCheck:
        """Check that no line was changed, removed or slipped in."""


class WithAudit(Protocol):
    """What has one."""

    @property
    def audit(self) -> Audit:
        """Who did what."""
