"""The audit as admins and operators read it: pages of it, all of it, and whether it is whole."""

from __future__ import annotations

import dataclasses

from manager.audit_records import AuditCheck, AuditFilter, AuditLine
from manager.store import Store


class AuditTrail:
    """Reads the audit; what is written comes from the rooms that do something."""

    def __init__(self, store: Store) -> None:
        """Bind."""
        self._store = store

    def page(self, wanted: AuditFilter, count: int) -> list[AuditLine]:
        """Give the newest lines that fit, newest first."""
        return self._store.read_long(lambda t: t.audit.page(wanted, count))

    def oldest_first(self, wanted: AuditFilter, most: int) -> list[AuditLine]:
        """Give what fits in the order it was written; the newest ``most`` lines."""
        whole = dataclasses.replace(wanted, before=None)
        return self.page(whole, most)[::-1]

    def actions(self) -> list[str]:
        """List the kinds of lines there are."""
        return self._store.read_long(lambda t: t.audit.actions())

    def verify(self) -> AuditCheck:
        """Check that no line was changed, removed or slipped in."""
        return self._store.read_long(lambda t: t.audit.verify())
