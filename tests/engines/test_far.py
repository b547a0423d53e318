"""Launches over each engine: nothing is left of a tree, however the engine ends its job."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from manager.addresses import AUTHORITY
from manager.identity import alive as lives
from manager.launcher.engine import Engine, JobState
from manager.launcher.far import claims
from manager.launcher.far.authority import Authority
from manager.launcher.far.begin import Placement
from manager.launcher.far.launcher import FarLauncher
from manager.launcher.protocol import LaunchSpec, Liveness
from tests.engines.conftest import Cluster
from tests.engines.jobs import LIMIT_S, ended, state
from tests.support.launcher import TORTURE, alive, noted, spec, with_marker
from tests.support.waiting import wait_until

KINDS = {"process": "ascend", "ray": "ascend", "slurm": "cuda"}


class Far:
    """A launcher over an engine, and the launches of a test."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.engine: Engine = cluster.engine()
        self.folder = folder
        self.names: list[str] = []
        self.node = cluster.nodes[0]
        self.kind = KINDS[cluster.kind]
        self.launcher = self.make()

    def make(self) -> FarLauncher:
        """Make a manager's launcher; another one is the next manager's."""
        place = Placement(self.node, 1, self.kind)
        return FarLauncher(
            self.folder / "runs",
            self.engine,
            place=lambda _spec: place,
            authority=Authority(self.folder / AUTHORITY),
            python=sys.executable,
        )

    def start(self, *argv: str) -> str:
        name = secrets.token_hex(8)
        self.names.append(name)
        plain: LaunchSpec = spec(name, Path("/"), *argv)
        self.launcher.start(replace(plain, secret=secrets.token_hex(16)))
        return name

    def until(self, name: str, wanted: Liveness) -> None:
        def there() -> bool:
            return self.launcher.poll(name).liveness is wanted

        wait_until(there, LIMIT_S, f"{name} is {wanted}; {self.launcher.logs(name, 2000)}")

    def pid(self, name: str) -> int:
        """Give the process number of a launch's program on its node."""
        return int(claims.read(self.folder / "runs" / name)["pid"])

    def end(self) -> None:
        for name in self.names:
            self.launcher.stop(name, force=True)
        for name in self.names:
            self.until(name, Liveness.GONE)
            wait_until(partial(ended, self.engine, name), LIMIT_S, f"{name} has ended")
            wait_until(partial(_unmarked, name), LIMIT_S, "nothing is left")
            self.engine.forget(name)


def _unmarked(name: str) -> bool:
    return not with_marker(name)


@pytest.fixture
def far(cluster: Cluster, tmp_path: Path) -> Iterator[Far]:
    lent = Far(cluster, tmp_path)
    yield lent
    lent.end()


def _politely(far: Far, name: str) -> None:
    far.launcher.stop(name, force=False)


def _by_force(far: Far, name: str) -> None:
    far.launcher.stop(name, force=True)


def _by_the_engine(far: Far, name: str) -> None:
    far.engine.cancel(name, force=False)


def _by_killing_its_program(far: Far, name: str) -> None:
    psutil.Process(far.pid(name)).kill()


def _by_killing_who_began_it(far: Far, name: str) -> None:
    """What a lost raylet or slurmstepd is to a job."""
    parent = psutil.Process(far.pid(name)).parent()
    assert parent is not None
    assert parent.pid > 1
    # The test itself cannot die for it: of a job that it began, the program does.
    (psutil.Process(far.pid(name)) if parent.pid == os.getpid() else parent).kill()


ENDS: tuple[Callable[[Far, str], None], ...] = (
    _politely,
    _by_force,
    _by_the_engine,
    _by_killing_its_program,
    _by_killing_who_began_it,
)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__.strip("_"))
def test_nothing_is_left_of_a_tree_that_hides(
    far: Far, tmp_path: Path, end: Callable[[Far, str], None]
) -> None:
    pids = tmp_path / "pids"
    name = far.start(str(TORTURE), str(pids))
    far.until(name, Liveness.ALIVE)
    wait_until(lambda: len(alive(pids)) > 20, LIMIT_S, "torture")
    end(far, name)
    far.until(name, Liveness.GONE)
    wait_until(lambda: not alive(pids), LIMIT_S, "nothing is left")
    assert len(noted(pids)) > 20
    wait_until(partial(_unmarked, name), LIMIT_S, "nothing bears its mark")
    assert not any(map(lives, noted(pids)))


def test_the_card_is_the_one_the_engine_gave(far: Far) -> None:
    variable = {"ascend": "ASCEND_RT_VISIBLE_DEVICES", "cuda": "CUDA_VISIBLE_DEVICES"}[far.kind]
    script = f"import os; print('card', os.environ['{variable}'], flush=True); input()"
    name = far.start("-c", script.replace("input()", "__import__('time').sleep(600)"))
    far.until(name, Liveness.ALIVE)

    def told() -> bool:
        return "card " in far.launcher.logs(name, 4000)

    wait_until(told, LIMIT_S, "its card")
    card = far.launcher.logs(name, 4000).split("card ")[1].split()[0]
    assert card.isdigit()


def test_a_manager_that_comes_later_finds_it_and_begins_none_twice(far: Far) -> None:
    name = far.start("-c", "import time; time.sleep(600)")
    far.until(name, Liveness.ALIVE)
    wait_until(lambda: bool(claims.read(far.folder / "runs" / name)), LIMIT_S, "a claim")
    before = far.pid(name)
    far.launcher = far.make()
    far.until(name, Liveness.ALIVE)
    far.launcher.start(
        replace(spec(name, Path("/"), "-c", "print()"), secret=secrets.token_hex(16))
    )
    assert far.pid(name) == before
    assert far.launcher.list() == [name]
    assert state(far.engine, name) is JobState.RUNNING
