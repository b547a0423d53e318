"""An instance on another node behind a real gate: by TLS, known by its launch's own certificate."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
import websocket

from manager.addresses import AUTHORITY, Address
from manager.cards.sampler import Sampler
from manager.comfyui import ComfyUI, Work
from manager.connections import UNUSABLE, Connections
from manager.errors import NoFreeCard
from manager.gate.gate import Gate
from manager.gate.opening import Opening
from manager.launcher.far.authority import Authority, name_of
from manager.launcher.far.launcher import FarLauncher
from manager.lifecycle import Lifecycle
from manager.lifecycle.moves import Moves
from manager.lifecycle.steps import Steps
from manager.records import GUARD_HEADER, Instance, User
from manager.settings import Settings
from manager.states import State
from manager.store import Store
from manager.watch import Watch
from tests.support.far import NODES, Cluster, network
from tests.support.far import cluster as lent_cluster
from tests.support.gate import OPEN, knock, knock_websocket, project, running_gate
from tests.support.launcher import with_marker
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

SECRET = "aB3" + "x" * 29
TOKEN = "t" * 32


@dataclass
class House:
    """A manager's rooms around an engine of processes, with a real gate."""

    settings: Settings
    store: Store
    cluster: Cluster
    launcher: FarLauncher
    lifecycle: Lifecycle
    watch: Watch
    comfyui: ComfyUI

    @property
    def port(self) -> int:
        return self.settings.ports[0].port

    def row(self) -> Instance:
        return self.lifecycle.instance(self.port)

    def until(self, state: State) -> Instance:
        def there() -> bool:
            return self.row().state is state

        wait_until(there, 40, f"{state}; {self.row()}")
        return self.row()

    def status(self, path: str = "/", cookie: str = "") -> int:
        port = self.settings.row(self.port).workspace_port
        return knock(port, path, {"Cookie": cookie} if cookie else None).status

    def websocket(self, cookie: str = "") -> int:
        port = self.settings.row(self.port).workspace_port
        return knock_websocket(port, "/ws", [("Cookie", cookie)] if cookie else None)

    def user(self, name: str) -> User:
        user_id = self.store.write(
            lambda t: t.users.insert(
                name, "h", is_admin=False, assigned_port=self.port, must_change_password=False
            )
        )
        found = self.store.read(lambda t: t.users.get(user_id))
        assert found is not None
        return found


@contextmanager
def manager(settings: Settings, cluster: Cluster, gate: Gate) -> Iterator[House]:
    """Lend a manager's rooms; another one afterwards is the next manager on the same disk."""
    with ExitStack() as stack:
        store = Store(settings.database_path, 2)
        stack.callback(store.close)
        comfyui = ComfyUI(2, settings.data_dir / AUTHORITY)
        stack.callback(comfyui.close)
        launcher = cluster.launcher()
        moves = Moves(settings, store, lambda ports, users: None)
        sampler = Sampler("cpu", [], settings.data_dir)
        steps = Steps(settings, store, moves, launcher, gate, comfyui, sampler)
        lifecycle = Lifecycle(settings, store, moves, steps, launcher, gate)
        lifecycle.recover()
        watch = Watch(settings, lifecycle, comfyui, gate, sampler, lambda ports, users: None)
        stop = threading.Event()
        loops = [threading.Thread(target=loop, args=(stop,)) for loop in (watch.run, launcher.run)]
        for loop in loops:
            loop.start()
            stack.callback(loop.join)
        stack.callback(lifecycle.wake)
        stack.callback(stop.set)
        yield House(settings, store, cluster, launcher, lifecycle, watch, comfyui)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return project(
        tmp_path / "project",
        COMFYUI_PATH=str(tmp_path / "none"),
        COMFYUI_ARGS="--demo-zero-boot",
        CARD_KIND="cpu",
        QUEUE_CHECK_INTERVAL="1",
    )


@pytest.fixture
def cluster(tmp_path: Path, settings: Settings) -> Iterator[Cluster]:
    with lent_cluster(tmp_path / "far") as lent:
        yield replace_data(lent, settings)


def replace_data(lent: Cluster, settings: Settings) -> Cluster:
    """Have the cluster's data directory be the manager's."""
    lent.data_dir = settings.data_dir
    return lent


def test_a_whole_life_behind_a_gate(settings: Settings, cluster: Cluster) -> None:
    with running_gate(settings) as gate:
        with manager(settings, cluster, gate) as house:
            ann = house.user("ann")
            launch_id = house.lifecycle.start(ann).launch_id or ""
            row = house.until(State.RUNNING)
            assert row.address == Address(NODES["one"], house.port, "https", name_of(launch_id)), (
                row.address
            )
            cookie = f"token_{house.port}={row.token}"
            assert house.status(f"/?{cookie}") == 302
            assert house.status("/queue", cookie) == 200
            assert house.status("/queue") == 403
            assert house.websocket(cookie) == OPEN
            assert house.websocket() == 403
            # Past the gate nobody gets in: without the secret, or without TLS.
            assert _past_the_gate(row.address, settings) == 403
            assert _ws_past_the_gate(row.address, settings) == 403
            assert not _answers_without_tls(row.address)
            wait_until(lambda: _known(house), what="the watch asks for the queue")
        # A manager is killed and another one comes: the same instance, the same gate.
        with manager(settings, cluster, gate) as house:
            row = house.until(State.RUNNING)
            assert house.status("/queue", cookie) == 200
            assert len(cluster.engine.ever) == 1
            # The engine forgets all and falls silent; work goes on.
            cluster.engine.lose_memory()
            cluster.engine.dumb = True
            wait_until(lambda: _known(house), what="the watch asks for the queue")
            assert house.status("/queue", cookie) == 200
            cluster.engine.dumb = False
            house.lifecycle.stop(house.port, by=ann, reason="user")
            ended = house.until(State.IDLE)
            assert (ended.address, ended.fault) == (None, None)
            assert with_marker(launch_id) == []


def test_a_node_in_another_network(settings: Settings, tmp_path: Path) -> None:
    """It finds its own address by the way to the manager, and listens there alone."""
    with network() as net, lent_cluster(tmp_path / "far", before=net.inside) as lent:
        cluster = replace_data(lent, settings)
        cluster.engine.nodes = {"one": ""}
        cluster.reach = net.here
        with running_gate(settings) as gate, manager(settings, cluster, gate) as house:
            ann = house.user("ann")
            launch_id = house.lifecycle.start(ann).launch_id or ""
            row = house.until(State.RUNNING)
            assert row.address is not None
            assert (row.address.host, row.address.scheme) == (net.there, "https")
            cookie = f"token_{house.port}={row.token}"
            assert house.status("/queue", cookie) == 200
            assert house.websocket(cookie) == OPEN
            assert _past_the_gate(row.address, settings) == 403
            assert _ws_past_the_gate(row.address, settings) == 403
            assert not _answers_without_tls(row.address)
            loopback = subprocess.run(
                [*net.inside, sys.executable, "-c", CONNECT, str(row.address.port)], timeout=20
            )
            assert loopback.returncode == 1
            # The cable is cut: the work goes on, and its place is nobody else's.
            net.cable("down")
            assert house.launcher.taken(row.address) is None
            assert house.status("/queue", cookie) == 502
            assert house.row().state is State.RUNNING
            net.cable("up")
            wait_until(lambda: house.status("/queue", cookie) == 200, what="the cable is back")
            house.lifecycle.stop(house.port, by=ann, reason="user")
            assert house.until(State.IDLE).fault is None
            assert with_marker(launch_id) == []


CONNECT = """
import socket, sys
try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), 5)
except ConnectionRefusedError:
    sys.exit(1)
"""


def test_a_node_that_dies_frees_nothing(settings: Settings, cluster: Cluster) -> None:
    with running_gate(settings) as gate, manager(settings, cluster, gate) as house:
        ann, ben = house.user("ann"), house.user("ben")
        launch_id = house.lifecycle.start(ann).launch_id or ""
        house.until(State.RUNNING)
        frozen = [cluster.pid(launch_id), cluster.supervisor(launch_id), cluster.main(launch_id)]
        for pid in frozen:
            psutil.Process(pid).suspend()
        # The engine takes the job for ended.
        cluster.engine.lose_memory()
        house.lifecycle.stop(house.port, by=ann, reason="user")
        wait_until(lambda: house.launcher.poll(launch_id).liveness.value == "unknown", 30, "stale")
        assert house.row().state is State.STOPPING
        with pytest.raises(NoFreeCard):
            house.lifecycle.start(ben)
        for pid in frozen:
            psutil.Process(pid).resume()
        house.until(State.IDLE)
        assert with_marker(launch_id) == []


def _known(house: House) -> bool:
    reading = house.watch.reading(house.port)
    return reading is not None and reading.responding and reading.pending == 0


def _answers_without_tls(address: Address) -> bool:
    with socket.create_connection((address.host, address.port), 5) as plain:
        plain.sendall(b"GET /queue HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return plain.recv(1) == b"H"
        except ConnectionError:
            return False


def _trust(settings: Settings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=settings.data_dir / AUTHORITY)


def _past_the_gate(address: Address, settings: Settings) -> int:
    connections = Connections(1, settings.data_dir / AUTHORITY)
    try:
        return connections.status(address, "/queue")
    finally:
        connections.close()


def _ws_past_the_gate(address: Address, settings: Settings) -> int:
    try:
        websocket.create_connection(
            f"wss://{address.authority}/ws",
            sslopt={"context": _trust(settings), "server_hostname": address.name},
            timeout=10,
        ).close()
    except websocket.WebSocketBadStatusException as refusal:
        return int(refusal.status_code)
    return OPEN


class Stranger:
    """Listens by TLS with some certificate, answers everything, and notes all that it hears."""

    def __init__(self, pem: Path, host: str = NODES["one"], *, tls: bool = True) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
        if self._context is not None:
            self._context.load_cert_chain(pem)
        self._listener = socket.create_server((host, 0))
        self.address = Address(host, self._listener.getsockname()[1], "https", name_of("mine"))
        self.heard = b""
        self.refused = 0
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            with accepted:
                accepted.settimeout(5)
                self._answer(accepted)

    def _answer(self, accepted: socket.socket) -> None:
        try:
            if self._context is not None:
                accepted = self._context.wrap_socket(accepted, server_side=True)
            heard = accepted.recv(1 << 16)
            self.heard += heard
            body = json.dumps({"queue_running": [], "queue_pending": []}).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            accepted.sendall(head.encode() + body)
            accepted.close()
        except OSError:
            self.refused += 1

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@contextmanager
def stranger(pem: Path, *, tls: bool = True) -> Iterator[Stranger]:
    lent = Stranger(pem, tls=tls)
    try:
        yield lent
    finally:
        lent.close()


def _pem(folder: Path, authority: Authority, launch_id: str) -> Path:
    path = folder / f"{launch_id}.pem"
    path.write_bytes(authority.issue(launch_id))
    return path


STRANGERS = ("mine", "another launch", "another authority", "no tls")


@pytest.mark.parametrize("who", STRANGERS)
def test_only_the_launch_itself_hears_the_secret(
    settings: Settings, tmp_path: Path, who: str
) -> None:
    ours, theirs = Authority(settings.data_dir / AUTHORITY), Authority(tmp_path / "theirs.pem")
    ours.ensure()
    authority = theirs if who == "another authority" else ours
    pem = _pem(tmp_path, authority, "another" if who == "another launch" else "mine")
    row = settings.ports[0]
    comfyui = ComfyUI(1, settings.data_dir / AUTHORITY)
    with running_gate(settings) as gate, stranger(pem, tls=who != "no tls") as there:
        gate.apply({row.port: Opening(TOKEN, SECRET, upstream=str(there.address), owner=1)})
        cookie = [("Cookie", f"token_{row.port}={TOKEN}")]
        answers = [
            comfyui.queue(there.address, SECRET).work is Work.IDLE,
            comfyui.refuses_strangers(there.address) is False,
            comfyui.send(there.address, SECRET, b"{}") is not None,
            comfyui.whole_queue(there.address, SECRET) is not None,
            knock(row.workspace_port, "/queue", cookie).status == 200,
            knock(row.external_port, f"/queue?token_{row.port}={TOKEN}").status == 200,
        ]
        in_by_websocket = knock_websocket(row.workspace_port, "/ws", cookie)
        comfyui.close()
        assert answers == [who == "mine"] * len(answers)
        assert in_by_websocket != OPEN
        assert (SECRET.encode() in there.heard) == (who == "mine")
        if who != "mine":
            # Not even the name of a header, nor a path.
            assert GUARD_HEADER.encode() not in there.heard
            assert b"/queue" not in there.heard


@pytest.mark.parametrize("tls", [True, False])
def test_nobody_is_asked_by_https_without_a_name_or_an_authority(
    settings: Settings, tmp_path: Path, tls: bool
) -> None:
    ours = Authority(settings.data_dir / AUTHORITY)
    ours.ensure()
    with stranger(_pem(tmp_path, ours, "mine"), tls=tls) as there:
        unnamed = replace(there.address, name="")
        named = replace(there.address, scheme="http")
        for authority, address in (
            (settings.data_dir / AUTHORITY, unnamed),
            (settings.data_dir / AUTHORITY, named),
            (None, there.address),
            (tmp_path / "missing.pem", there.address),
        ):
            with pytest.raises(UNUSABLE):
                Connections(1, authority).body(address, "/queue", SECRET)
        assert SECRET.encode() not in there.heard


def test_it_is_asked_in_the_same_way_under_eventlet(settings: Settings, tmp_path: Path) -> None:
    ours = Authority(settings.data_dir / AUTHORITY)
    ours.ensure()
    theirs = Authority(tmp_path / "theirs.pem")
    good, bad = _pem(tmp_path, ours, "mine"), _pem(tmp_path / "..", theirs, "mine")
    with stranger(good) as right, stranger(bad) as wrong:
        words = [str(settings.data_dir / AUTHORITY), str(right.address), str(wrong.address)]
        done = subprocess.run(
            [sys.executable, "-c", GREEN, *words], capture_output=True, text=True, timeout=60
        )
        assert done.stdout.split() == ["200", "SSLCertVerificationError", "green"], done.stderr
        assert SECRET.encode() not in wrong.heard


GREEN = f"""
import sys
from manager import runtime
runtime.setup("eventlet")
import threading, time
from pathlib import Path
from manager.addresses import Address
from manager.connections import Connections
turns = []
def turn():
    while True:
        turns.append(1)
        time.sleep(0.001)
threading.Thread(target=turn, daemon=True).start()
connections = Connections(2, Path(sys.argv[1]))
right, wrong = Address.parse(sys.argv[2]), Address.parse(sys.argv[3])
for _ in range(3):
    connections.body(right, "/queue", "{SECRET}")
print(connections.status(right, "/queue"))
try:
    connections.body(wrong, "/queue", "{SECRET}")
except OSError as error:
    print(type(error).__name__)
# Whoever waits lets others run.
print("green" if len(turns) > 3 else "blocked")
"""
