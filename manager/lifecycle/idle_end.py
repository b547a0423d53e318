"""The end of an instance for idleness or a limit: the last question, and what it rests on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from manager.comfyui import ComfyUI, QueueAnswer, Work
from manager.lifecycle.doors import Doors
from manager.lifecycle.grants import Grants
from manager.lifecycle.moves import Moves
from manager.records import Instance
from manager.states import Event
from manager.store import Store, Tables

LastWord = Callable[[], Mapping[str, object] | None]
"""Looks at everything else once more; gives what the stop rests on, None when it must not be."""


class IdleEnd:
    """Ends instances that have nothing to do."""

    def __init__(
        self,
        store: Store,
        moves: Moves,
        doors: Doors,
        grants: Grants,
        comfyui: ComfyUI,
        stopping: Callable[[Instance, str], Mapping[str, object]],
    ) -> None:
        """Bind; ``stopping`` gives the columns of a row that begins to stop."""
        self._store = store
        self._moves = moves
        self._doors = doors
        self._grants = grants
        self._comfyui = comfyui
        self._stopping = stopping

    def stop_if_idle(self, row: Instance, last_word: LastWord = dict) -> QueueAnswer:
        """End a running instance for idleness, unless it has work or is in use after all.

        The gate is closed first, so that nothing can slip in between the last question and the
        stop; if the answer is anything but «idle», the gate opens again with the same token.

        Returns:
            The last answer: «idle» means that it is being stopped, or has been used meanwhile.

        Raises:
            GateFailed: the gate could not be closed; nothing has changed.
            LostRace: somebody else stopped it meanwhile.
        """
        return self._stop(row, "idle", last_word)

    def stop_if_over(self, row: Instance) -> QueueAnswer:
        """End a running instance whose user's time is over, unless it has work; else as above."""
        return self._stop(row, "time_limit", dict)

    def _stop(self, row: Instance, reason: str, last_word: LastWord) -> QueueAnswer:
        with self._doors.withheld(row.port):
            self._doors.reconcile()
            answer = self._comfyui.queue(row.address, row.secret, fresh=True)
            receipt = last_word() if answer.work is Work.IDLE else None
            if receipt is not None and self._end(row, reason, receipt):
                return answer
        self._doors.reconcile()
        return answer

    def _end(self, row: Instance, reason: str, receipt: Mapping[str, object]) -> bool:
        launch_id = row.launch_id or ""
        evidence = json.dumps(receipt, separators=(",", ":")) if receipt else ""

        def work(t: Tables) -> Instance | None:
            if t.grants.of(launch_id) != self._grants.of(launch_id):
                # «I am still here» came in this very moment.
                return None
            if evidence:
                t.usage.note_evidence(launch_id, evidence)
            values = self._stopping(row, reason)
            return self._moves.apply(t, row, Event.STOP, values, evidence=evidence)

        after = self._store.write(work)
        if after is None:
            return False
        self._moves.announce(row, after)
        return True
