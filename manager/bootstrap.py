"""Builds a manager out of its rooms: the only place that knows every one of them.

``build`` opens files and takes the lock on the data directory but starts nothing; ``Manager.run``
starts Caddy and the loops; ``Manager.close`` ends the manager's own threads and leaves Caddy and
the instances as they are, so that the next manager finds them at work.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

from manager import cards, launching
from manager.accounts import Accounts
from manager.addresses import AUTHORITY
from manager.announcements import Announcements
from manager.api_tokens import ApiTokens
from manager.audit import AuditTrail
from manager.card_history import CardHistory
from manager.cards import Card
from manager.cards.sampler import Sampler, for_table
from manager.care import Care, care_for
from manager.changes import Changes
from manager.cluster import Cluster
from manager.comfyui import ComfyUI
from manager.data_dir import claim, secret_key
from manager.disk import DiskUses
from manager.errors import GateFailed, SettingsError
from manager.follower import Follower
from manager.gate import page
from manager.gate.gate import Gate
from manager.launcher.processes import launch_of
from manager.launcher.protocol import Launcher
from manager.lifecycle import Lifecycle
from manager.lifecycle.moves import Moves, Publish
from manager.lifecycle.steps import Steps
from manager.line_history import LineHistory
from manager.load import Load
from manager.measures import Measures
from manager.outside import Outside
from manager.pace import limits
from manager.settings import Settings
from manager.store import Store
from manager.watch import Watch

logger = logging.getLogger(__name__)

JOIN_S = 10.0


@dataclass
class Manager:
    """The rooms of one manager, wired together."""

    settings: Settings
    store: Store
    accounts: Accounts
    api_tokens: ApiTokens
    lifecycle: Lifecycle
    watch: Watch
    outside: Outside
    follower: Follower
    gate: Gate
    load: Load
    sampler: Sampler
    card_history: CardHistory
    line_history: LineHistory
    disk: DiskUses
    care: Care
    secret_key: bytes
    measures: Measures
    metrics_token: str
    changes: Changes
    _lock_file: IO[str]
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    @cached_property
    def cards(self) -> list[Card]:
        """Give the accelerators of the port table."""
        return cards.cards(self.settings)

    @property
    def cluster(self) -> Cluster:
        """Give the machines that instances run on."""
        return self.lifecycle.cluster

    @property
    def announcements(self) -> Announcements:
        """Give what is told to everybody."""
        return Announcements(self.store)

    @property
    def audit(self) -> AuditTrail:
        """Give the audit, for reading."""
        return AuditTrail(self.store)

    def on_change(self, callback: Publish) -> None:
        """Have ``callback`` called with the ports and users concerned by each change."""
        self.changes.callbacks.append(callback)

    def make_way(self) -> None:
        """Have a Caddy of before let go of the page's port, where TLS has been switched off.

        Users' workspaces stay open; only then the page itself can listen there.
        """
        if self.settings.tls == "off" and page.is_caddys(self.settings):
            self._start_gate()
            page.wait_until_free(self.settings)

    def _start_gate(self) -> None:
        try:
            self.gate.start(self.lifecycle.openings())
        except GateFailed as error:
            logger.error("the gate does not start: %s", error)  # noqa: TRY400 - says it all

    def run(self) -> None:
        """Start Caddy, the watch and the sampler.

        A gate that does not start is logged and tried again by the watch: pages and running
        instances must not wait for it.
        """
        self._start_gate()
        loops = {
            "watch": self.watch.run,
            "load": self.load.run,
            "cards": self.sampler.run,
            "cluster": self.cluster.run,
            "engine": self.cluster.listen,
            "outside": self.outside.run,
            "progress": self.follower.run,
            "line": self.line_history.run,
            "disk": self.disk.run,
            **self.care.loops(),
        }
        for name, loop in loops.items():
            thread = threading.Thread(target=loop, args=(self._stop,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """End the manager's own threads and files; Caddy and the instances stay."""
        self._stop.set()
        self.lifecycle.wake()
        self.follower.wake()
        self.sampler.want()
        self.disk.end()
        self.care.end()
        for thread in self._threads:
            thread.join(JOIN_S)
        self.gate.leave()
        self.card_history.flush()
        self.line_history.flush()
        self.store.close()
        self._lock_file.close()


def build(settings: Settings, *, starts: bool = True) -> Manager:
    """Wire a manager; without ``starts`` one that only ends what runs, whatever isolation fails.

    Raises:
        SettingsError: data directory, port table, isolation, certificate or a limit cannot be used.
        AlreadyServing: another manager holds the data directory.
        StoreFailed: the database cannot be used, or the disk of the data directory not now.
    """
    lock_file = claim(settings, starts=starts)
    changes, store = Changes(), Store(settings.database_path, settings.database_pool_size)
    accounts, key = _accounts(settings, store)
    gate, comfyui = _gate(settings, starts=starts), _comfyui(settings)
    launcher, cluster = launching.choose(settings, starts)
    moves = Moves(settings, store, changes)
    load, history, disk = _load(settings), CardHistory(store), _disk(settings, store, changes)
    sampler = for_table(settings, launch_of, load.slowdown, history.take)
    lifecycle = _lifecycle(settings, store, moves, launcher, cluster, gate, comfyui, sampler)
    watch = Watch(settings, lifecycle, comfyui, gate, sampler, changes)
    return Manager(
        settings=settings,
        store=store,
        accounts=accounts,
        api_tokens=ApiTokens(settings, store, key, accounts.wrong_token),
        lifecycle=lifecycle,
        watch=watch,
        outside=Outside(store, accounts, lifecycle, changes),
        follower=_follower(comfyui, lifecycle, watch, changes, load),
        gate=gate,
        load=load,
        sampler=sampler,
        card_history=history,
        line_history=LineHistory(store, lifecycle.line.all),
        disk=disk,
        care=care_for(settings, store, lifecycle, gate, load, disk, starts=starts),
        secret_key=key,
        measures=_measured(moves, watch, gate),
        metrics_token=_metrics_token(settings.data_dir),
        changes=changes,
        _lock_file=lock_file,
    )


def _comfyui(settings: Settings) -> ComfyUI:
    return ComfyUI(len(settings.ports), settings.data_dir / AUTHORITY)


def _metrics_token(data_dir: Path) -> str:
    return secret_key(data_dir / "metrics_token", readable=True).decode()


def _accounts(settings: Settings, store: Store) -> tuple[Accounts, bytes]:
    """Make the accounts, with an admin among them, and the key that signs what browsers keep."""
    key = secret_key(settings.data_dir / "secret_key")
    accounts = Accounts(settings, store, key=key)
    accounts.ensure_admin()
    return accounts, key


def _gate(settings: Settings, *, starts: bool) -> Gate:
    """Make the gate; a certificate that is no good is said before anything at work is touched."""
    gate = Gate(settings)
    try:
        if starts:
            gate.take_certificate()
    except GateFailed as error:
        raise SettingsError(error.message) from error
    return gate


def _load(settings: Settings) -> Load:
    return Load(settings.data_dir, limits(settings))


def _disk(settings: Settings, store: Store, changes: Changes) -> DiskUses:
    disk = DiskUses(settings, store)
    # Whoever has made room may start again: his page is to say so.
    disk.changed = lambda user_id: changes(frozenset(), frozenset({user_id}))
    return disk


def _measured(moves: Moves, watch: Watch, gate: Gate) -> Measures:
    """Have what is counted counted."""
    measures = Measures()
    moves.observe, watch.late = measures.moved, measures.late
    gate.on_reload(measures.reloaded)
    return measures


def _lifecycle(
    settings: Settings,
    store: Store,
    moves: Moves,
    launcher: Launcher,
    cluster: Cluster,
    gate: Gate,
    comfyui: ComfyUI,
    sampler: Sampler,
) -> Lifecycle:
    """Make the lifecycle, with what was found of the last manager's instances."""
    steps = Steps(settings, store, moves, launcher, gate, comfyui, sampler)
    lifecycle = Lifecycle(settings, store, moves, steps, launcher, gate)
    lifecycle.cluster = cluster
    for row in lifecycle.recover():
        logger.info("端口 %d: found %s's instance, %s", row.port, row.username, row.state)
    return lifecycle


def _follower(
    comfyui: ComfyUI, lifecycle: Lifecycle, watch: Watch, changes: Changes, load: Load
) -> Follower:
    follower = Follower(comfyui, lifecycle.instance, watch, changes, load.slowdown)
    # Before the pages: what it knows goes out with the change.
    changes.callbacks.insert(0, follower.changed)
    return follower
