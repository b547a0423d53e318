"""A lifecycle and a watch on a real store, with stand-ins for everything that runs outside."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from manager import cards, settings
from manager.cards.sampler import Sampler
from manager.launcher.protocol import Launcher as LauncherProtocol
from manager.lifecycle import Lifecycle
from manager.lifecycle.moves import Moves
from manager.lifecycle.steps import Steps
from manager.records import Instance, User
from manager.settings import Settings
from manager.store import Store
from manager.watch import Watch
from tests.support.stand_ins import IDLE, Clock, ComfyUI, Gate, Launcher


class House:
    """The rooms under test and the stand-ins around them."""

    def __init__(self, tmp_path: Path, **environ: str) -> None:
        self.settings: Settings = settings.load(
            {"COMFYUI_PATH": str(tmp_path), "CARD_KIND": "cpu", **environ}, root=tmp_path
        )
        (tmp_path / "main.py").touch()
        self.store = Store(self.settings.database_path, 1)
        self.clock, self.launcher, self.gate = Clock(), Launcher(), Gate()
        self.monotonic = Clock()
        self.comfyui = ComfyUI()
        self.published: list[tuple[frozenset[int], frozenset[int]]] = []
        self.sampler = Sampler(
            cards.kind_in_force(self.settings),
            [row.device for row in self.settings.ports],
            tmp_path,
            monotonic=self.monotonic,
        )
        self.begins()

    def begins(self) -> None:
        """Begin a manager; again: the one before was killed, and what it knew is lost."""
        launcher: LauncherProtocol = self.launcher
        # These have the shape of the rooms, not their type.
        outside: list[Any] = [self.gate, self.comfyui]
        gate, comfyui = outside

        def publish(ports: frozenset[int], users: frozenset[int]) -> None:
            self.published.append((ports, users))

        moves = Moves(self.settings, self.store, publish, self.clock)
        steps = Steps(
            self.settings, self.store, moves, launcher, gate, comfyui, self.sampler, self.monotonic
        )
        self.lifecycle = Lifecycle(self.settings, self.store, moves, steps, launcher, gate)
        # Before an end what waits is kept; at once here, and not beside.
        self.lifecycle.unfinished.spawn = lambda work: work()
        self.lifecycle.recover()
        self.watch = Watch(self.settings, self.lifecycle, comfyui, gate, self.sampler, publish)

    def user(self, name: str, assigned_port: int | None = None) -> User:
        """Add an account."""
        user_id = self.store.write(
            lambda t: t.users.insert(
                name, "h", is_admin=False, assigned_port=assigned_port, must_change_password=False
            )
        )
        return cast("User", self.store.read(lambda t: t.users.get(user_id)))

    def row(self, port: int) -> Instance:
        """Read a port's row."""
        return self.lifecycle.instance(port)

    def pass_time(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.clock.now += seconds
        self.monotonic.now += seconds

    def pass_a_second(self) -> None:
        """Let what waits between two tries be over."""
        self.lifecycle._steps._gate_retry_at.clear()
        self.lifecycle._steps._stop_asked_at.clear()

    def run(self, user: User) -> Instance:
        """Start a user's instance and see it through until it is ready."""
        row = self.lifecycle.start(user)
        self.comfyui.answers[row.port] = IDLE
        self.step(row.port)
        assert self.step(row.port) == "ready"
        return self.row(row.port)

    def step(self, port: int) -> str:
        """Have the lifecycle look at a port once."""
        return self.lifecycle.step(self.row(port))

    def close(self) -> None:
        """Close the file."""
        self.store.close()
