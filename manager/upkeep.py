"""What the watch looks after beside the instances: gates, leftovers, the line, restarts.

Each problem is logged once when it begins and once when it is over. No thread of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from manager.errors import ManagerError
from manager.gate.gate import Gate
from manager.lifecycle import Lifecycle

logger = logging.getLogger(__name__)

AROUND_INTERVAL_S = 30.0
"""Between two looks for what belongs to nobody."""


class Upkeep:
    """The chores of one watch."""

    def __init__(self, lifecycle: Lifecycle, gate: Gate) -> None:
        """Bind."""
        self._lifecycle = lifecycle
        self._gate = gate
        self._problems: dict[str, str | None] = {}
        self._around_due = time.monotonic() + AROUND_INTERVAL_S

    def restart_due(self) -> None:
        """Start what crashed and has waited long enough."""
        try:
            self._lifecycle.restart_due()
        except ManagerError as error:
            logger.error("what crashed cannot be started again: %s", error)  # noqa: TRY400

    def serve_line(self) -> None:
        """See whose turn it is."""
        self._tell("line", self._lifecycle.serve_line)

    def keep_doors(self) -> None:
        """Have the gates as they should be."""
        self._tell("gate", self._reconcile)

    def _reconcile(self) -> None:
        self._gate.watch()
        self._lifecycle.keep_doors()

    def look_around(self) -> None:
        """Look for what belongs to nobody, now and then."""
        now = time.monotonic()
        try:
            if self._lifecycle.leftovers.step() or now >= self._around_due:
                self._around_due = now + AROUND_INTERVAL_S
                self._lifecycle.look_around()
        except ManagerError as error:
            logger.error("leftovers cannot be looked for: %s", error)  # noqa: TRY400

    def _tell(self, what: str, work: Callable[[], object]) -> None:
        problem = None
        try:
            work()
        except ManagerError as error:
            problem = str(error)
        if problem != self._problems.get(what):
            level = logging.ERROR if problem else logging.INFO
            logger.log(level, "%s: %s", what, problem or "works again")
            self._problems[what] = problem
