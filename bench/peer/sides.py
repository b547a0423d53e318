"""Both systems side by side, each with the same users who start the same child."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.peer.hub import Hub, Peer
from bench.seats import Bare, Ours, Seat
from tests.support.client import first_admin, new_user
from tests.support.server import ManagerProcess

QUICK_BOOT = ("--demo-zero-boot",)
NAMES = ("bare", "ours", "peer")

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """How this run is made: where the peer is installed, where to write, how much to do."""

    installed: Path
    folder: Path
    quick: bool

    def rounds(self, full: int, quick: int) -> int:
        """Give how often something is done."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Sides:
    """The systems, and a seat of each user in each."""

    manager: ManagerProcess
    hub: Hub
    bare: Sequence[Bare]
    ours: Sequence[Ours]
    peer: Sequence[Peer]

    def seats(self, name: str) -> Sequence[Seat]:
        """Give the seats of one system."""
        found: Mapping[str, Sequence[Seat]] = {
            "bare": self.bare,
            "ours": self.ours,
            "peer": self.peer,
        }
        return found[name]


@contextlib.contextmanager
def sides(
    run: Run,
    users: int,
    *,
    flags: Sequence[str] = QUICK_BOOT,
    idle_limit: int = 0,
    interval: int = 0,
) -> Iterator[Sides]:
    """Have both run for so many users; ``interval`` (s) is the peer's, 0 its own defaults."""
    settings = {"COMFYUI_ARGS": " ".join(flags)}
    if idle_limit:
        settings["IDLE_TIMEOUT"] = str(idle_limit)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(_folder(run.folder)))
        manager = ManagerProcess(folder / "ours", rows=users, settings=settings)
        stack.enter_context(manager)
        admin = stack.enter_context(first_admin(manager))
        names = [f"bench{n}" for n in range(users)]
        hub = Hub(
            run.installed,
            folder / "peer",
            names,
            flags=flags,
            interval=interval,
            idle_limit=idle_limit,
        )
        stack.enter_context(hub)
        clients = [
            stack.enter_context(new_user(admin, name, port))
            for name, port in zip(names, manager.ports, strict=True)
        ]
        yield Sides(
            manager,
            hub,
            [Bare(manager, folder, n) for n in range(users)],
            [Ours(client, port) for client, port in zip(clients, manager.ports, strict=True)],
            [Peer(hub, name) for name in names],
        )


@contextlib.contextmanager
def _folder(base: Path) -> Iterator[str]:
    with tempfile.TemporaryDirectory(dir=base) as name:
        yield name


def in_turns(
    rounds: int, do: Callable[[str], T], names: Sequence[str] = NAMES
) -> dict[str, list[T]]:
    """Have each system take its turn in each round, in an order that chance gives."""
    found: dict[str, list[T]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in random.sample(names, len(names)):
            found[name].append(do(name))
    return found
