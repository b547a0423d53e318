"""What is written of an end: the whole text for people who search, the reason for the pages."""

from __future__ import annotations

from collections.abc import Callable

from manager.launcher.memory import Memory
from manager.launcher.protocol import Launcher, ProcessReport
from manager.lifecycle import reasons
from manager.lifecycle.reasons import Reason
from manager.records import Instance

FAULT_LOG_BYTES = 4096
"""Of the instance's last output kept with a fault."""

Columns = dict[str, object]
"""Of a port's row: ``fault`` and those of the reason."""


ORPHANED = (
    "its supervisor was killed; it works on, but a program that it starts may outlive its end"
)
"""What is shown of an instance that goes on without its supervisor."""


class Ends:
    """Looks at living launches for what will be asked when they are gone."""

    def __init__(self, launcher: Launcher, monotonic: Callable[[], float]) -> None:
        """Bind; ``monotonic`` gives seconds that only pass."""
        self._launcher = launcher
        self._monotonic = monotonic
        self._memory = Memory()

    def look(self, row: Instance, report: ProcessReport) -> None:
        """Note what the kernel counts while a launch lives."""
        if report.pid is not None:
            self._memory.look(row.launch_id or "", report.pid, self._monotonic())

    def died(self, row: Instance, report: ProcessReport) -> Columns:
        """Say why a launch is gone that nobody ended."""
        launch_id = row.launch_id or ""
        output = self.last_output(row)
        killed = self._memory.killed(launch_id)
        reason = reasons.of_exit(report.exit_code, output, oom_killed=killed)
        out_of_memory = "; out of memory" if reason.kind == reasons.OUT_OF_MEMORY else ""
        text = f"{reasons.exit_text(report.exit_code)}{out_of_memory}\n{output}".rstrip()
        return {"fault": text, **reason.columns()}

    def refused(self, error: Exception) -> Columns:
        """Say why a launch could not begin."""
        return {"fault": str(error), **reasons.of_refusal(error).columns()}

    def overdue(self, row: Instance, seconds: int, problem: str | None) -> Columns:
        """Say why a start took too long: ``problem`` of gate or engine, or ComfyUI's silence."""
        if problem:
            return {"fault": problem, **Reason(reasons.REFUSED, problem).columns()}
        text = f"no answer within {seconds} s\n{self.last_output(row)}"
        return {"fault": text, **Reason(reasons.NO_ANSWER).columns()}

    def hung(self, row: Instance, seconds: float) -> Columns:
        """Say that a running one was given up for doing nothing."""
        text = f"no answer for {seconds:.0f} s, and nothing done\n{self.last_output(row)}"
        return {"fault": text, **Reason(reasons.HUNG).columns()}

    def last_output(self, row: Instance) -> str:
        """Give the end of what it printed."""
        return self._launcher.logs(row.launch_id or "", FAULT_LOG_BYTES)

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch that has ended."""
        self._memory.forget(launch_id)


NO_FAULT: Columns = {"fault": None, **reasons.NO_REASON}
"""The columns of a row of which nothing is to be told."""
