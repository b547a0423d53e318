"""The manager that ``bench.watch_cost`` measures: everything but Caddy and the pages.

It is built as the program builds it and takes over launches that look alive, as after a restart;
all of them are this process. Reads a plan (JSON) from its first argument and prints one line.
"""

from __future__ import annotations

import json
import sys

from manager import runtime

PLAN = json.loads(sys.argv[1])
# Before anything that makes a lock or a socket, as the entry does.
runtime.setup(PLAN["mode"])

import fcntl  # noqa: E402
import os  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

from bench.watch_bare import SECRET, Beats  # noqa: E402
from bench.watch_stand_ins import Plan, allow_files, say  # noqa: E402
from manager import bootstrap, data_dir, identity, settings  # noqa: E402
from manager.comfyui import ComfyUI, QueueAnswer  # noqa: E402
from manager.launcher.run_dir import RunDir  # noqa: E402
from manager.records import Address  # noqa: E402
from manager.settings import Settings  # noqa: E402
from manager.states import State  # noqa: E402
from manager.store import Store, Tables  # noqa: E402
from tests.support import stand_ins  # noqa: E402


class Gate(stand_ins.Gate):
    """No Caddy: it has nothing to do while nobody comes or goes."""

    def __init__(self, _settings: Settings) -> None:
        """Stand in for one."""
        super().__init__()

    def start(self, openings: object) -> None:
        """Start nothing."""

    def take_certificate(self) -> None:
        """Need none."""

    def leave(self) -> None:
        """Leave nothing."""

    def on_reload(self, _told: object) -> None:
        """Have nothing to tell."""


def noting(beats: Beats) -> type[ComfyUI]:
    """Make a client that notes when a queue is asked for."""

    class Client(ComfyUI):
        def queue(
            self, address: Address | None, secret: str | None, *, fresh: bool = False
        ) -> QueueAnswer:
            """Note it, and ask."""
            assert address is not None
            beats.note(address.port)
            return super().queue(address, secret, fresh=fresh)

    return Client


def chosen(plan: Plan) -> Settings:
    """Give the settings of a manager in a folder of its own."""
    folder = Path(plan["folder"])
    (folder / "main.py").touch()
    table = ",".join(f"{port}:{n}:{20_000 + n}:{n}" for n, port in enumerate(plan["ports"], 1))
    environ = {
        "COMFYUI_PATH": str(folder),
        "CARD_KIND": "cpu",
        "ISOLATION": "directories",
        "LANDLOCK": "off",
        "PORTS": table,
    }
    return settings.load(environ, root=folder)


def hold(store: Store, runs: Path, ports: list[int]) -> list[int]:
    """Make running launches of this process, which holds their locks as supervisors would."""
    me = identity.read(os.getpid())
    assert me is not None
    pair = [me.pid, me.start_ticks]
    record = json.dumps({"boot_id": me.boot_id, "supervisor": pair, "child": pair})
    locks = []
    for port in ports:
        run = RunDir(runs / f"bench-{port}")
        run.create({"port": port}, SECRET)
        (run.path / "record").write_text(record)
        locks.append(os.open(run.path / "lock", os.O_RDWR | os.O_CLOEXEC))
        fcntl.flock(locks[-1], fcntl.LOCK_EX)

    def work(t: Tables) -> None:
        t.ports.ensure(ports)
        for port in ports:
            occupy(t, port, me.pid)

    store.write(work)
    return locks


def occupy(t: Tables, port: int, pid: int) -> None:
    """Note a user's running instance on a port."""
    user_id = t.users.insert(
        f"u{port}", "h", is_admin=False, assigned_port=None, must_change_password=False
    )
    values: dict[str, object] = {
        "current_user_id": user_id,
        "current_username": f"u{port}",
        "process_id": pid,
        "launch_id": f"bench-{port}",
        "token": "t" * 32,
        "secret": SECRET,
        "started_at": time.time(),
        "ready_at": time.time(),
        "address": f"127.0.0.1:{port}",
    }
    t.ports.move(port, before=State.IDLE, after=State.RUNNING, values=values)


def measure(plan: Plan) -> None:
    """Take all instances over, look after them and say what it cost."""
    in_force, ports = chosen(plan), plan["ports"]
    data_dir.make_data_dir(in_force.data_dir)
    store = Store(in_force.database_path, 1)
    locks = hold(store, in_force.data_dir / "runs", ports)
    store.close()
    beats = Beats(plan)
    vars(bootstrap).update(Gate=Gate, ComfyUI=noting(beats))
    manager = bootstrap.build(in_force)
    if plan["kind"] != "followed":
        # What is measured is the watch alone.
        manager.changes.callbacks.remove(manager.follower.changed)
    beats.restart()
    manager.run()

    def skipped() -> int:
        return sum(reading.skipped for port in ports if (reading := manager.watch.reading(port)))

    beats.warm()
    before = skipped()
    beats.measure()
    after = skipped()
    manager.close()
    for lock in locks:
        os.close(lock)
    say({**beats.report(), "skipped": after - before})


if __name__ == "__main__":
    allow_files()
    measure(PLAN)
