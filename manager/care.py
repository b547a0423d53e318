"""What looks after a house for years beside its work: who is told what, old files, backups.

Puts the parts together for ``bootstrap``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from manager.alerting import Alerting
from manager.backup.scheduled import Scheduled
from manager.data_dir import ended_uncleanly
from manager.disk import DiskUses
from manager.gate.gate import Gate
from manager.lifecycle import Lifecycle
from manager.load import Load
from manager.retention import Retention
from manager.settings import Settings
from manager.store import Store
from manager.web.i18n import translate
from manager.webhooks import hooks
from manager.webhooks.delivery import Delivery, Failing


@dataclass(frozen=True)
class Care:
    """The loops of one manager."""

    alerting: Alerting
    retention: Retention
    backups: Scheduled

    def loops(self) -> Mapping[str, Callable[[threading.Event], None]]:
        """Give what is to run, by name."""
        return {
            "alerts": self.alerting.run,
            "retention": self.retention.run,
            "backups": self.backups.run,
        }

    def end(self) -> None:
        """Have all end, and what they are at."""
        self.alerting.end()
        self.retention.end()
        self.backups.end()

    def failing(self) -> Sequence[Failing]:
        """List the webhooks that do not take what they are told."""
        return self.alerting.failing()


def care_for(
    settings: Settings,
    store: Store,
    lifecycle: Lifecycle,
    gate: Gate,
    load: Load,
    disk: DiskUses,
    *,
    starts: bool,
) -> Care:
    """Make all of them; without ``starts`` nobody is told of anything.

    Raises:
        SettingsError: the webhooks cannot be used.
    """
    told = [Delivery(hook) for hook in hooks.read(settings)] if starts else []
    unclean = ended_uncleanly(settings.data_dir)
    backups = Scheduled(settings)
    alerting = Alerting(
        *(settings, store, lifecycle, gate, load, told, translate),
        unclean=unclean,
        backup_problem=lambda: backups.problem,
    )
    return Care(alerting, Retention(settings, store, disk.touch), backups)
