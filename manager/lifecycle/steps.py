"""What the watch does with an instance at each look, by its state.

Every step looks at what is (process, port, gate), does at most one thing about it, and returns the
stage for people to see. It never waits: what is not done yet is looked at again a moment later.
Intent is in the store before any effect, so a manager that dies anywhere in here goes on at its
next start where this one stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from manager.cards.sampler import Sampler
from manager.comfyui import ComfyUI, Work
from manager.errors import GateFailed, LaunchFailed, WorkspaceFailed
from manager.gate.gate import Gate, new_token
from manager.launcher.protocol import Launcher, Liveness
from manager.lifecycle.deadlines import Deadlines
from manager.lifecycle.doors import Doors
from manager.lifecycle.ends import NO_FAULT, ORPHANED, Ends
from manager.lifecycle.grants import Grants
from manager.lifecycle.hangs import Hangs
from manager.lifecycle.idle_end import IdleEnd
from manager.lifecycle.launches import Launches
from manager.lifecycle.limits import Limits
from manager.lifecycle.moves import Moves
from manager.lifecycle.parting import Parting
from manager.lifecycle.quarantine import Quarantine
from manager.lifecycle.readiness import not_begun, ready_at, waiting_stage
from manager.lifecycle.reservations import Reservations
from manager.lifecycle.reviver import Reviver
from manager.lifecycle.unfinished import Keeper
from manager.records import Address, Instance
from manager.settings import Settings
from manager.states import Event, State
from manager.store import Store

logger = logging.getLogger(__name__)

KEPT_RUNS = 40
"""Directories of ended launches that stay on disk, with their logs."""

GATE_RETRY_S = 1.0
FORCE_AGAIN_S = 1.0


class Steps:
    """The steps of every instance of this manager."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        moves: Moves,
        launcher: Launcher,
        gate: Gate,
        comfyui: ComfyUI,
        sampler: Sampler,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind the rooms below."""
        self._settings = settings
        self._store = store
        self._moves = moves
        self._launcher = launcher
        self._comfyui = comfyui
        self._launches = Launches(settings, store, launcher)
        self.limits = Limits(settings, store, moves.clock, monotonic)
        self.reservations = Reservations(settings, store, sampler, moves.publish, moves.clock)
        self.doors = Doors(store, gate, self.limits.is_shut)
        self.deadlines = Deadlines(moves.clock, monotonic)
        self.quarantine = Quarantine(settings, store, launcher, sampler, moves.clock, monotonic)
        self.ends = Ends(launcher, monotonic)
        self.hangs = Hangs(settings, launcher, monotonic)
        self.reviver = Reviver(settings, store, moves, monotonic)
        self.grants = Grants(settings, store, moves, monotonic)
        self.keeper = Keeper(settings, store, moves, comfyui)
        self.parting = Parting(self.keeper, comfyui, monotonic)
        self.idle_end = IdleEnd(store, moves, self.doors, self.grants, comfyui, self.stopping)
        self.monotonic = monotonic
        self._launched: set[str] = set()
        self._stop_asked_at: dict[str, float] = {}
        self._gate_retry_at: dict[str, float] = {}
        self._gate_problems: dict[str, str] = {}

    def step(self, row: Instance) -> str:
        """Do the next thing for a row that somebody holds and name the stage it is in.

        Raises:
            LostRace: the row moved meanwhile; the next look sees it as it is.
        """
        if row.state is State.STARTING:
            return self._starting(row)
        if row.state is State.RUNNING:
            return self._running(row)
        return self._stopping(row)

    def stop_if_hung(self, row: Instance, silent_seconds: float) -> None:
        """End a running instance that has not answered for so long, if the settings want it.

        Raises:
            LostRace: somebody else stopped it meanwhile.
        """
        if not self.hangs.hung(row.launch_id or "", silent_seconds):
            return
        if self._comfyui.queue(row.address, row.secret, fresh=True).work is Work.UNKNOWN:
            fault = self.ends.hung(row, silent_seconds)
            self._moves.move(row, Event.STOP, self.stopping(row, "hung", fault))

    def stopping(
        self, row: Instance, reason: str, fault: Mapping[str, object] = NO_FAULT
    ) -> dict[str, object]:
        """Give the columns of a row that begins to stop."""
        deadline = self.deadlines.begin(
            row.launch_id or "", State.STOPPING, self._settings.stop_timeout
        )
        return {"deadline_at": deadline, "stop_reason": reason, **fault}

    def _starting(self, row: Instance) -> str:
        launch_id = row.launch_id or ""
        report = self._launcher.poll(launch_id)
        if launch_id not in self._launched and report.liveness is not Liveness.UNKNOWN:
            try:
                # Alive: begun by an earlier manager; whatever would stand in its way now, it runs.
                if report.liveness is Liveness.GONE:
                    self._launches.begin(row)
            except (LaunchFailed, WorkspaceFailed) as error:
                logger.warning("端口 %d: %s", row.port, error)
                return self._release_failed(row, "launch_failed", self.ends.refused(error))
            self._launched.add(launch_id)
            return "launched"
        if report.liveness is Liveness.GONE:
            return self._release_failed(row, "died", self.ends.died(row, report))
        self.ends.look(row, report)
        if report.pid is not None and report.pid != row.process_id:
            self._note(row, {"process_id": report.pid})
        # The answer before the deadline: what came up while no manager looked is not overdue.
        try:
            with self.doors.coming():
                address = ready_at(self._launcher, self._comfyui, row, report)
                stage = self._open(row, address) if address else waiting_stage(report)
        except LaunchFailed as error:
            fault = self.ends.refused(error)
            self._moves.move(row, Event.STOP, self.stopping(row, "launch_failed", fault))
            return "ending"
        if stage != "ready" and self.deadlines.over(row, self._settings.start_timeout):
            problem = self._gate_problems.get(launch_id) or not_begun(report)
            fault = self.ends.overdue(row, self._settings.start_timeout, problem)
            self._moves.move(row, Event.OVERDUE, self.stopping(row, "overdue", fault))
            return "ending"
        return stage

    def _open(self, row: Instance, address: Address) -> str:
        launch_id = row.launch_id or ""
        if self.monotonic() < self._gate_retry_at.get(launch_id, 0):
            return "opening"
        if row.token is None or row.address != address:
            self._note(row, {"token": row.token or new_token(), "address": str(address)})
        try:
            self.doors.open(row.port)
        except GateFailed as error:
            self._gate_retry_at[launch_id] = self.monotonic() + GATE_RETRY_S
            self._note_gate_problem(row, f"the gate does not open: {error}")
            return "opening"
        fresh = {"ready_at": self._moves.clock(), "deadline_at": None, "idle_count": 0}
        self._moves.move(row, Event.ANSWERED, fresh)
        return "ready"

    def _running(self, row: Instance) -> str:
        report = self._launcher.poll(row.launch_id or "")
        if report.liveness is Liveness.GONE:
            self.parting.died(row)
            return self._release_failed(row, "died", self.ends.died(row, report))
        self.ends.look(row, report)
        if not report.supervised and row.fault is None:
            logger.warning("端口 %d: %s", row.port, ORPHANED)
            self._note(row, {"fault": ORPHANED})
        return "ready"

    def _stopping(self, row: Instance) -> str:
        launch_id = row.launch_id or ""
        closed = self._close(row)
        report = self._launcher.poll(launch_id)
        if report.liveness is not Liveness.GONE:
            if not self.parting.over(row):
                # The time for a polite end begins when this is over.
                self.deadlines.begin(launch_id, State.STOPPING, self._settings.stop_timeout)
                return "saving"
            self._end(row, launch_id)
            return "ending"
        # It may have died before the first look at its stop: then nobody has asked it.
        self.parting.died(row)
        if not closed:
            return "closing"
        doubt = self.quarantine.doubt(row)
        if doubt and not self.quarantine.is_due(row):
            return "ending"
        self._comfyui.forget(row.address)
        event = Event.GONE_FAULTY if row.fault else Event.GONE
        self.quarantine.free(self._moves, row, event, doubt)
        self._forget(launch_id)
        if row.stop_reason in {"hung", "died"}:
            self.reviver.ended(row, row.stop_reason, row.fault_kind or "")
        return "gone"

    def _end(self, row: Instance, launch_id: str) -> None:
        now = self.monotonic()
        asked_at = self._stop_asked_at.get(launch_id)
        overdue = self.deadlines.over(row, self._settings.stop_timeout)
        if asked_at is None or (overdue and now - asked_at >= FORCE_AGAIN_S):
            self._stop_asked_at[launch_id] = now
            self._launcher.stop(launch_id, force=overdue)

    def _release_failed(self, row: Instance, reason: str, fault: Mapping[str, object]) -> str:
        # Until the row has moved, the store still wants its gate open.
        with self.doors.withheld(row.port):
            if not self._close(row):
                return "closing"
            if reason == "died" and self.quarantine.doubt(row):
                self._moves.move(row, Event.STOP, self.stopping(row, reason, fault))
                return "ending"
            self._comfyui.forget(row.address)
            self._moves.move(row, Event.DIED, {"stop_reason": reason, **fault})
        self._forget(row.launch_id or "")
        self.reviver.ended(row, reason, str(fault["fault_kind"]))
        return "gone"

    def _close(self, row: Instance) -> bool:
        launch_id = row.launch_id or ""
        if self.monotonic() < self._gate_retry_at.get(launch_id, 0):
            return False
        try:
            self.doors.reconcile(without=row.port)
        except GateFailed as error:
            self._note_gate_problem(row, f"the gate does not close: {error}")
            self._gate_retry_at[launch_id] = self.monotonic() + GATE_RETRY_S
            return False
        return True

    def _note_gate_problem(self, row: Instance, text: str) -> None:
        launch_id = row.launch_id or ""
        if self._gate_problems.get(launch_id) != text:
            self._gate_problems[launch_id] = text
            logger.warning("端口 %d: %s", row.port, text)

    def _note(self, row: Instance, values: dict[str, object]) -> None:
        launch_id = row.launch_id or ""
        self._store.write(lambda t: t.ports.note(row.port, launch_id, row.state, values))

    def _forget(self, launch_id: str) -> None:
        self._launcher.prune(keep=KEPT_RUNS)
        self._launched.discard(launch_id)
        self.deadlines.forget(launch_id)
        self.quarantine.forget(launch_id)
        self.ends.forget(launch_id)
        self.hangs.forget(launch_id)
        self.limits.forget(launch_id)
        self.grants.forget(launch_id)
        self.parting.forget(launch_id)
        self._stop_asked_at.pop(launch_id, None)
        self._gate_retry_at.pop(launch_id, None)
        self._gate_problems.pop(launch_id, None)
