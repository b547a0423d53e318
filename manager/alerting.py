"""Looks at the house now and then, and has admins told what needs them; see ``alerts``.

A loop of its own, for neither the watch nor a page may wait for it. Where there is no webhook it
ends at once.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from manager import scheduler
from manager.alerts import CRASH_WINDOW_S, Alerts, Facts, Thresholds, Told, observe
from manager.errors import ManagerError
from manager.gate.gate import Gate
from manager.lifecycle import Lifecycle
from manager.load import Load
from manager.settings import Settings
from manager.states import HOLDS_PORT
from manager.store import Store
from manager.webhooks import record
from manager.webhooks.delivery import Delivery, Failing
from manager.webhooks.words import Translate, house, message

logger = logging.getLogger(__name__)

LOOK_S = 15.0
JOIN_S = 3.0
GIB = 1 << 30


class Alerting:
    """What needs an admin, and who is told of it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        lifecycle: Lifecycle,
        gate: Gate,
        load: Load,
        deliveries: Sequence[Delivery],
        translate: Translate,
        *,
        unclean: bool,
        backup_problem: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; ``unclean``: the last manager did not end by itself.

        ``backup_problem`` says why the last backup failed, nothing where it did not.
        """
        self._settings, self._store, self._deliveries = settings, store, deliveries
        self._lifecycle, self._gate, self._load = lifecycle, gate, load
        self._translate, self._house = translate, house(settings)
        self._unclean, self._backup_problem = unclean, backup_problem
        self._clock, self._monotonic = clock, monotonic
        self._limits = Thresholds(
            settings.alert_full_minutes * 60.0,
            settings.alert_line_length,
            settings.alert_disk_free * GIB,
        )
        self._record = record.place(settings)
        active, failing = record.load(self._record)
        self._alerts = Alerts(self._limits.rules(), active)
        self._wake = threading.Event()
        self._problem = ""
        for one in deliveries:
            one.changed = self._keep
            before = next((f for f in failing if f.name == one.hook.name), None)
            if before is not None:
                one.resume(before)

    def failing(self) -> list[Failing]:
        """List the webhooks that do not take what they are told."""
        found = [one.failing for one in self._deliveries]
        return [one for one in found if one is not None]

    def run(self, stop: threading.Event) -> None:
        """Look and have admins told until ``stop``; ``end`` wakes it."""
        threads = [
            threading.Thread(target=one.run, name=f"webhook {one.hook.name}", daemon=True)
            for one in self._deliveries
        ]
        for thread in threads:
            thread.start()
        if threads and self._unclean:
            now = self._clock()
            self._tell([Told("unclean_end", "", False, now, now)])
        while threads and not stop.is_set():
            self.look()
            self._wake.wait(LOOK_S)
        for thread in threads:
            thread.join(JOIN_S)

    def end(self) -> None:
        """Have the loops end, and what is being sent."""
        self._wake.set()
        for one in self._deliveries:
            one.end()

    def look(self) -> None:
        """Look once and have told what has begun or is over."""
        try:
            facts = self._facts()
        except ManagerError as error:
            if str(error) != self._problem:
                logger.warning("alerts: cannot be told: %s", error)
            self._problem = str(error)
            return
        self._problem = ""
        active = [(one.event, one.subject) for one in self._alerts.active]
        seen = observe(facts, self._limits, active)
        news = self._alerts.step(self._monotonic(), self._clock(), seen)
        if news:
            # Before they are sent: better one that is lost than the same one after each crash.
            self._keep()
            self._tell(news)

    def _tell(self, news: Sequence[Told]) -> None:
        for told in news:
            over = " is over" if told.over else ""
            logger.info("alert: %s %s%s", told.event, told.subject, over)
            for one in self._deliveries:
                one.offer(message(self._translate, self._house, one.hook, told))

    def _keep(self) -> None:
        record.save(self._record, self._alerts.active, self.failing())

    def _facts(self) -> Facts:
        lifecycle, now = self._lifecycle, self._clock()
        resting = lifecycle.maintenance.now() is not None
        line = None if resting else len(lifecycle.line.all())
        gate, load = self._gate.watch(), self._load.latest()
        until = gate.certificate_until
        crashes = self._store.read(lambda t: t.usage.unhappy_since(now - CRASH_WINDOW_S))
        return Facts(
            full=None if resting else self._is_full(),
            ports=len(self._settings.ports),
            line=line,
            held_back={one.port: one.reason for one, _ in lifecycle.quarantine.all()},
            crashes=crashes,
            disk_free=load.disk_free,
            gate_up=gate.running and not gate.problem,
            certificate_left=None if until is None else until - now,
            backup_problem=self._backup_problem(),
        )

    def _is_full(self) -> bool:
        """Tell whether nobody who comes now would get a card: of each free one somebody has it."""
        closed, terms = self._lifecycle.unavailable, self._lifecycle.reservations.terms()
        rows, line = self._lifecycle.instances(), self._lifecycle.line.all()
        kept = scheduler.allot(rows, line, closed, terms) if line else {}
        taken = {*closed, *terms.reserved, *kept}
        return all(row.state in HOLDS_PORT or row.port in taken for row in rows)
