"""What other programs write into the database beside a manager at work: the operator's commands.

Once a second SQLite is asked whether anybody else has written. If so, open pages are told, the
count of wrong passwords begins anew, and the instances of disabled accounts are ended.
"""

from __future__ import annotations

import logging
import threading

from manager.accounts import Accounts
from manager.errors import ManagerError, NotRunning
from manager.lifecycle import Lifecycle
from manager.lifecycle.moves import Publish
from manager.records import OPERATOR
from manager.states import STOPPABLE
from manager.store import Store

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0


class Outside:
    """Looks for what was changed from outside."""

    def __init__(
        self, store: Store, accounts: Accounts, lifecycle: Lifecycle, publish: Publish
    ) -> None:
        """Bind."""
        self._store = store
        self._accounts = accounts
        self._lifecycle = lifecycle
        self._publish = publish
        self._failing = False

    def run(self, stop: threading.Event) -> None:
        """Look each second until ``stop`` is set; at first for what happened without a manager."""
        self._try(first=True)
        while not stop.wait(LOOK_EVERY_S):
            self._try(first=False)

    def _try(self, *, first: bool) -> None:
        try:
            self.look(first=first)
            self._failing = False
        except ManagerError as error:
            if not self._failing:
                logger.warning("looking for changes from outside: %s", error)
            self._failing = True

    def look(self, *, first: bool = False) -> None:
        """Look once, and put into force what was changed.

        Raises:
            StoreFailed: the database cannot be read.
        """
        if not self._store.changed_outside() and not first:
            return
        users = {user.id: user for user in self._accounts.users()}
        for row in self._lifecycle.holding():
            holder = users.get(row.user_id or 0)
            if row.state in STOPPABLE and holder is not None and not holder.is_active:
                self._end(row.port)
        if not first:
            self._accounts.forget_attempts()
            self._publish(frozenset(), frozenset(users))

    def _end(self, port: int) -> None:
        try:
            self._lifecycle.stop(port, by=OPERATOR, reason="admin")
        except NotRunning:
            # It ended by itself meanwhile.
            return
