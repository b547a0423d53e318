"""Small stand-ins for launcher, gate and ComfyUI, for the unit layer: no process, port or child."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from pathlib import Path

from manager.comfyui import QueueAnswer, Work
from manager.errors import GateFailed, LaunchFailed
from manager.gate.gate import GateHealth
from manager.gate.opening import Opening
from manager.launcher.activity import Activity
from manager.launcher.devices import openers
from manager.launcher.protocol import LaunchFacts, LaunchSpec, Liveness, ProcessReport
from manager.records import Address, Node

IDLE = QueueAnswer(Work.IDLE, 0, 0)
BUSY = QueueAnswer(Work.BUSY, 1, 2)
UNKNOWN = QueueAnswer(Work.UNKNOWN, problem="timeout")


class Clock:
    """UTC epoch seconds that stand still until moved."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def _on_loopback(spec: LaunchSpec) -> Address:
    return Address("127.0.0.1", spec.port)


class Launcher:
    """Remembers launches; they live until told otherwise."""

    def __init__(self) -> None:
        self.specs: dict[str, LaunchSpec] = {}
        self.reports: dict[str, ProcessReport] = {}
        self.stops: list[tuple[str, bool]] = []
        self.stranger: bool | None = False
        self.silent = False
        self.itself: dict[str, bool | None] = {}
        self.address_of: Callable[[LaunchSpec], Address | None] = _on_loopback
        self.refuse: str | None = None
        self.output = ""
        self.activities: list[Activity | None] = []

    def start(self, spec: LaunchSpec) -> None:
        if self.refuse:
            raise LaunchFailed(self.refuse)
        if self.stranger:
            raise LaunchFailed(f"port {spec.port} is taken", reason="port_taken")
        self.specs[spec.launch_id] = spec
        self.reports[spec.launch_id] = ProcessReport(Liveness.ALIVE, pid=4000 + len(self.specs))

    def poll(self, launch_id: str) -> ProcessReport:
        return self.reports.get(launch_id, ProcessReport(Liveness.GONE))

    def end(self, launch_id: str, exit_code: int) -> None:
        self.reports[launch_id] = ProcessReport(Liveness.GONE, exit_code=exit_code)

    def stop(self, launch_id: str, *, force: bool) -> None:
        self.stops.append((launch_id, force))

    def logs(self, launch_id: str, max_bytes: int) -> str:
        return self.output[-max_bytes:]

    def address(self, launch_id: str) -> Address | None:
        spec = self.specs.get(launch_id)
        return self.address_of(spec) if spec else None

    def probe(self) -> tuple[Node, ...]:
        return (Node("stand-in", "directories", 0, (), {}, root=False),)

    def answers_itself(self, launch_id: str) -> bool | None:
        if launch_id in self.itself:
            return self.itself[launch_id]
        alive = self.poll(launch_id).liveness is Liveness.ALIVE
        return alive and not self.stranger

    def activity(self, launch_id: str) -> Activity | None:
        return self.activities.pop(0) if self.activities else None

    def taken(self, address: Address) -> bool | None:
        return self.stranger

    def holders(self, launch_id: str, device: Path) -> builtins.list[int] | None:
        return sorted(openers(device))

    def list(self) -> builtins.list[str] | None:
        if self.silent:
            return None
        alive = {i for i, r in self.reports.items() if r.liveness is Liveness.ALIVE}
        return sorted(alive)

    def describe(self, launch_id: str) -> LaunchFacts:
        spec = self.specs.get(launch_id)
        return LaunchFacts(spec.labels if spec else {}, 5000.0)

    def prune(self, keep: int) -> int:
        return 0


class Gate:
    """Remembers what was applied; ``broken`` refuses."""

    def __init__(self) -> None:
        self.applied: list[dict[int, Opening]] = []
        self.broken = False
        self.running = True
        self.unavailable: dict[int, str] = {}
        self.used: dict[int, float] = {}

    def last_use(self, port: int) -> float | None:
        return self.used.get(port)

    @property
    def open(self) -> dict[int, Opening]:
        return self.applied[-1] if self.applied else {}

    def apply(self, openings: Mapping[int, Opening]) -> dict[int, str]:
        if self.broken:
            raise GateFailed("Caddy does not run")
        self.applied.append(dict(openings))
        return {p: why for p, why in self.unavailable.items() if p in openings}

    def watch(self) -> GateHealth:
        return GateHealth(self.running, None, "", None if self.running else "Caddy is not running")


class ComfyUI:
    """Answers what it was told, per port; asked ports and shown secrets are remembered.

    Every instance answers at its own port; one without an address is not heard.
    """

    def __init__(self) -> None:
        self.answers: dict[int, QueueAnswer] = {}
        self.then: dict[int, QueueAnswer] = {}
        self.worked_at: float | None = None
        self.history: list[str] | None = []
        self.asked: list[int] = []
        self.heard: list[Address] = []
        self.shown: list[str | None] = []
        self.refuses: bool | None = True
        self.queues: dict[int, bytes] = {}
        self.freed: list[int] = []
        self.sent: list[bytes] = []
        self.says: list[tuple[int, bytes] | None] = []

    def queue(
        self, address: Address | None, secret: str | None, *, fresh: bool = False
    ) -> QueueAnswer:
        if address is None:
            return UNKNOWN
        port = address.port
        self.heard.append(address)
        self.asked.append(port)
        self.shown.append(secret)
        answer = self.answers.get(port, UNKNOWN)
        if port in self.then:
            self.answers[port] = self.then.pop(port)
        return answer

    def refuses_strangers(self, address: Address) -> bool | None:
        return self.refuses

    def last_work_at(self, address: Address | None, secret: str | None) -> float | None:
        self.shown.append(secret)
        return self.worked_at

    def finished(self, address: Address | None, secret: str | None, most: int) -> list[str] | None:
        return None if self.history is None else self.history[-most:]

    def whole_queue(self, address: Address | None, secret: str | None) -> bytes | None:
        return self.queues.get(address.port) if address else None

    def last_queue(self, address: Address | None) -> bytes | None:
        return None

    def newest(self, address: Address | None, secret: str | None) -> bytes | None:
        return b"{}"

    def free(self, address: Address | None, secret: str | None) -> bool:
        if address is not None:
            self.freed.append(address.port)
        return True

    def send(
        self, address: Address | None, secret: str | None, prompt: bytes
    ) -> tuple[int, bytes] | None:
        self.sent.append(prompt)
        return self.says.pop(0) if self.says else (200, b"{}")

    def forget(self, address: Address | None) -> None:
        pass
