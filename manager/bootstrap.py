"""Builds a manager out of its rooms: the only place that knows every one of them.

``build`` opens files and takes the lock on the data directory but starts nothing; ``Manager.run``
starts Caddy, the watch and the sampler; ``Manager.close`` ends the manager's own threads and
leaves Caddy and the instances as they are, so that the next manager finds them at work.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import stat
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from manager import cards, identity
from manager.accounts import Accounts
from manager.cards import Card, handles
from manager.cards.sampler import Sampler, for_table
from manager.comfyui import ComfyUI
from manager.errors import AlreadyServing, GateFailed, SettingsError
from manager.gate.gate import Gate
from manager.launcher import command, trial
from manager.launcher.local import LocalLauncher
from manager.launcher.ownership import WAY_MODE
from manager.launcher.processes import launch_of
from manager.launcher.trial import Host
from manager.lifecycle import Lifecycle
from manager.lifecycle.moves import Moves, Publish
from manager.lifecycle.steps import Steps
from manager.load import Load
from manager.settings import ROOT, Settings
from manager.store import Store
from manager.watch import Watch

logger = logging.getLogger(__name__)

JOIN_S = 10.0
LOCK_ATTEMPTS = 20
LOCK_PAUSE_S = 0.01
DATA_DIR_MODE = 0o700
PROJECT_SECRETS = (ROOT / "manager.toml", ROOT / ".git")

NO_SANDBOX_ON_ASCEND = (
    "not taken by itself on Ascend: its driver takes a mount namespace for a container and gives "
    "a card to one container alone"
)
"""Read in the driver's public source and in reports of its users; never tried by this project."""

SECRET_BYTES = 32


@dataclass
class Manager:
    """The rooms of one manager, wired together."""

    settings: Settings
    store: Store
    accounts: Accounts
    lifecycle: Lifecycle
    watch: Watch
    gate: Gate
    load: Load
    cards: list[Card]
    sampler: Sampler
    secret_key: bytes
    changes: Changes
    _lock_file: IO[str]
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def on_change(self, callback: Publish) -> None:
        """Have ``callback`` called with the ports and users concerned by each change."""
        self.changes.callbacks.append(callback)

    def run(self) -> None:
        """Start Caddy, the watch and the sampler.

        A gate that does not start is logged and tried again by the watch: pages and running
        instances must not wait for it.
        """
        try:
            self.gate.start(self.lifecycle.openings())
        except GateFailed as error:
            logger.error("the gate does not start: %s", error)  # noqa: TRY400 - says it all
        loops = {"watch": self.watch.run, "load": self.load.run, "cards": self.sampler.run}
        for name, loop in loops.items():
            thread = threading.Thread(target=loop, args=(self._stop,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """End the manager's own threads and files; Caddy and the instances stay."""
        self._stop.set()
        self.lifecycle.wake()
        self.sampler.want()
        for thread in self._threads:
            thread.join(JOIN_S)
        self.gate.leave()
        self.store.close()
        self._lock_file.close()


class Changes:
    """Hands changes on to whoever wants them."""

    def __init__(self) -> None:
        """Begin with nobody listening."""
        self.callbacks: list[Publish] = []

    def __call__(self, ports: frozenset[int], users: frozenset[int]) -> None:
        """Tell everybody."""
        for callback in self.callbacks:
            callback(ports, users)


def build(settings: Settings, *, starts: bool = True) -> Manager:
    """Wire a manager together.

    Without ``starts`` it only ends what runs: no isolation that fails stands in the way then.

    Raises:
        SettingsError: the data directory, the port table, the isolation or a limit cannot be used.
        AlreadyServing: another manager holds the data directory.
        StoreFailed: the database cannot be used.
    """
    make_data_dir(settings.data_dir)
    lock_file = take_lock(settings.data_dir)
    store = Store(settings.database_path, settings.database_pool_size)
    accounts = Accounts(settings, store)
    accounts.ensure_admin()
    changes = Changes()
    gate = Gate(settings)
    launcher = make_launcher(settings, starts)
    comfyui = ComfyUI(len(settings.ports))
    moves = Moves(settings, store, changes)
    sampler = for_table(settings, launch_of)
    steps = Steps(settings, store, moves, launcher, gate, comfyui, sampler)
    lifecycle = Lifecycle(settings, store, moves, steps, launcher, gate)
    for row in lifecycle.recover():
        logger.info("端口 %d: found %s's instance, %s", row.port, row.username, row.state)
    return Manager(
        settings=settings,
        store=store,
        accounts=accounts,
        lifecycle=lifecycle,
        watch=Watch(settings, lifecycle, comfyui, gate, changes),
        gate=gate,
        load=Load(settings.data_dir),
        cards=cards.cards(settings),
        sampler=sampler,
        secret_key=secret_key(settings.data_dir / "secret_key"),
        changes=changes,
        _lock_file=lock_file,
    )


def make_launcher(settings: Settings, starts: bool) -> LocalLauncher:
    """Make the launcher, with what trials show to keep instances apart best here.

    Raises:
        SettingsError: what was asked for does not work here.
    """
    choose = trial.choose if starts else trial.lowest
    isolation = choose(settings, _host(settings), _ours(settings))
    if starts:
        logger.info("%s", trial.summary(isolation))
    return LocalLauncher(settings.data_dir / "runs", isolation)


def _host(settings: Settings) -> Host:
    kind = cards.kind_in_force(settings)
    devices = handles.all_nodes(kind)
    python, needed = command.what_runs(settings)
    return Host(
        root=os.geteuid() == 0,
        python=python,
        needed=needed,
        devices=devices,
        gids=handles.groups(devices),
        no_sandbox=NO_SANDBOX_ON_ASCEND if kind == "ascend" else "",
    )


def _ours(settings: Settings) -> tuple[Path, ...]:
    """List what no instance may see."""
    ours = (settings.data_dir, settings.database_path, settings.caddyfile, settings.log_path)
    return (*ours, *PROJECT_SECRETS)


def make_data_dir(path: Path) -> None:
    """Make the data directory, for this account alone.

    Raises:
        SettingsError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if stat.S_IMODE(path.stat().st_mode) != WAY_MODE:
            # That one lets running instances through to their folders, and shows nothing.
            path.chmod(DATA_DIR_MODE)
        probe = path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SettingsError(
            f"DATA_DIR = {path} cannot be used: {error.strerror}; "
            "allowed: a folder that this account may write"
        ) from error


def take_lock(data_dir: Path) -> IO[str]:
    """Take the data directory for this process; the lock falls with the process.

    Raises:
        AlreadyServing: another manager has it.
    """
    lock_file = (data_dir / "manager.lock").open("a+", encoding="ascii")
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # noqa: PERF203
            # The manager of another data directory may only be looking whether it is held.
            time.sleep(LOCK_PAUSE_S)
        else:
            return lock_file
    lock_file.close()
    raise AlreadyServing(f"another manager is using {data_dir}; see ./start_manager.sh status")


def secret_key(path: Path) -> bytes:
    """Give the key that signs cookies; made once, readable for this account alone."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
            new.write(secrets.token_bytes(SECRET_BYTES))
    except FileExistsError:
        path.chmod(0o600)
    key = path.read_bytes()
    if len(key) < SECRET_BYTES:
        raise SettingsError(f"{path} is damaged; remove it, and everybody logs in once more")
    return key


def write_record(data_dir: Path, address: str) -> None:
    """Say who serves and where, for the operator's commands."""
    me = identity.read(os.getpid())
    record = {**(me.to_dict() if me else {}), "address": address}
    path = data_dir / "manager.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(record), encoding="utf-8")
    fresh.replace(path)


def read_record(data_dir: Path) -> tuple[identity.Identity | None, str]:
    """Give the living manager of a data directory, if any, and its address."""
    try:
        record = json.loads((data_dir / "manager.json").read_text(encoding="utf-8"))
        found = identity.from_dict(record)
    except (OSError, ValueError, AttributeError):
        return None, ""
    if found is None or not identity.alive(found):
        return None, ""
    return found, str(record.get("address", ""))
