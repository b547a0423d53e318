"""An instance on another node, by another launcher: the rooms above it are the same."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from manager.cards.sampler import Sampler
from manager.comfyui import ComfyUI
from manager.errors import NoFreeCard
from manager.launcher.protocol import Launcher
from manager.lifecycle import Lifecycle
from manager.lifecycle.moves import Moves
from manager.lifecycle.steps import Steps
from manager.records import Instance, User
from manager.settings import Settings
from manager.states import State
from manager.store import Store
from manager.watch import Watch
from tests.support.engine import NODE, Engine, engine
from tests.support.gate import knock, project, running_gate
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

LOOKS = 3


@dataclass
class House:
    """A manager's rooms around an engine, with a real gate."""

    settings: Settings
    store: Store
    engine: Engine
    lifecycle: Lifecycle
    watch: Watch

    @property
    def port(self) -> int:
        return self.settings.ports[0].port

    def row(self) -> Instance:
        return self.lifecycle.instance(self.port)

    def until(self, state: State) -> Instance:
        wait_until(lambda: self.row().state is state, what=f"{state}; {self.row()}")
        return self.row()

    def stage(self) -> str | None:
        reading = self.watch.reading(self.port)
        return reading.stage if reading else None

    def looked_again(self, question: str) -> None:
        """Wait until the engine has been asked some more times."""
        before = self.engine.asked[question]
        wait_until(lambda: self.engine.asked[question] >= before + LOOKS, what=question)

    def status(self, path: str = "/", cookie: str = "") -> int:
        port = self.settings.row(self.port).workspace_port
        return knock(port, path, {"Cookie": cookie} if cookie else None).status


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    settings = project(
        tmp_path / "project",
        COMFYUI_PATH=str(tmp_path / "none"),
        COMFYUI_ARGS="--demo-zero-boot",
        CARD_KIND="cpu",
        QUEUE_CHECK_INTERVAL="1",
    )
    with ExitStack() as stack:
        far = stack.enter_context(engine(tmp_path / "far"))
        gate = stack.enter_context(running_gate(settings))
        store = Store(settings.database_path, 2)
        stack.callback(store.close)
        comfyui = ComfyUI(2)
        stack.callback(comfyui.close)
        launcher: Launcher = far
        moves = Moves(settings, store, lambda ports, users: None)
        sampler = Sampler("cpu", [], tmp_path)
        steps = Steps(settings, store, moves, launcher, gate, comfyui, sampler)
        lifecycle = Lifecycle(settings, store, moves, steps, launcher, gate)
        lifecycle.recover()
        watch = Watch(settings, lifecycle, comfyui, gate, sampler, lambda ports, users: None)
        stop = threading.Event()
        looking = threading.Thread(target=watch.run, args=(stop,))
        looking.start()
        stack.callback(looking.join)
        stack.callback(lifecycle.wake)
        stack.callback(stop.set)
        yield House(settings, store, far, lifecycle, watch)


def user(house: House, name: str) -> User:
    user_id = house.store.write(
        lambda t: t.users.insert(
            name, "h", is_admin=False, assigned_port=house.port, must_change_password=False
        )
    )
    found = house.store.read(lambda t: t.users.get(user_id))
    assert found is not None
    return found


def test_a_whole_life_on_another_node(house: House) -> None:
    ann, ben = user(house, "ann"), user(house, "ben")
    far = house.engine

    # An engine that does not answer is neither asked to start nor given up.
    far.dumb = True
    launch_id = house.lifecycle.start(ann).launch_id or ""
    house.looked_again("poll")
    assert (house.row().state, far.asked["start"]) == (State.STARTING, 0)

    # Accepted, but without a place.
    far.dumb = False
    wait_until(lambda: house.stage() == "queued", what="queued")
    assert far.asked["start"] == 1
    assert house.status() == 403

    # It listens, but nobody can tell where.
    far.tells_address = False
    far.place(launch_id)
    wait_until(lambda: far.answers_itself(launch_id), what="it listens")
    house.looked_again("address")
    assert (house.row().state, house.row().address) == (State.STARTING, None)
    assert house.stage() == "loading"

    # Known, asked, and served by the gate.
    far.tells_address = True
    row = house.until(State.RUNNING)
    assert row.address == far.address(launch_id)
    assert row.address is not None
    assert row.address.host == NODE
    with socket.socket() as nobody:
        assert nobody.connect_ex(("127.0.0.1", house.port)) != 0
    cookie = f"token_{house.port}={row.token}"
    assert house.status(f"/?{cookie}") == 302
    assert house.status("/queue", cookie) == 200
    wait_until(lambda: _queue_is_known(house), what="the watch asks for the queue")

    # While the engine does not answer, whoever works goes on working.
    far.dumb = True
    house.looked_again("poll")
    assert house.row().state is State.RUNNING
    assert house.status("/queue", cookie) == 200

    # Ended, but nobody can tell: the port is nobody else's.
    house.lifecycle.stop(house.port, by=ann, reason="user")
    (job,) = far.jobs()
    wait_until(lambda: job.poll() is not None, what="the instance has ended")
    house.looked_again("poll")
    assert house.row().state is State.STOPPING
    assert house.status("/queue", cookie) == 403
    with pytest.raises(NoFreeCard):
        house.lifecycle.start(ben)

    # Gone, but nobody can tell whether its place is free.
    far.sees_ports = False
    far.dumb = False
    house.looked_again("taken")
    assert house.row().state is State.STOPPING
    with pytest.raises(NoFreeCard):
        house.lifecycle.start(ben)

    far.sees_ports = True
    row = house.until(State.IDLE)
    assert (row.address, row.fault) == (None, None)
    # The place is the next one's.
    assert house.lifecycle.start(ben).launch_id != launch_id
    wait_until(lambda: house.stage() == "queued", what="queued")
    house.lifecycle.stop(house.port, by=ben, reason="user")
    house.until(State.IDLE)


def _queue_is_known(house: House) -> bool:
    reading = house.watch.reading(house.port)
    return reading is not None and reading.responding and reading.pending == 0
