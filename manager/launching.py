"""Which launcher there is: that of this machine, or one over the engine of a cluster.

Of all rooms only ``bootstrap`` asks here; all others are handed a ``Launcher`` and know no more.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import replace
from pathlib import Path

from manager import cards, modes
from manager.addresses import AUTHORITY
from manager.cards import handles
from manager.cluster import Cluster
from manager.data_dir import secret_key
from manager.errors import SettingsError
from manager.launcher import command, trial
from manager.launcher.engine import Engine
from manager.launcher.engines import engine_of
from manager.launcher.far.authority import Authority
from manager.launcher.far.begin import Placement
from manager.launcher.far.launcher import FarLauncher
from manager.launcher.isolation import Isolation
from manager.launcher.local import LocalLauncher
from manager.launcher.protocol import Launcher, LaunchSpec
from manager.launcher.trial import Host
from manager.ports import LOCAL
from manager.records import Node
from manager.settings import ROOT, Settings

logger = logging.getLogger(__name__)

PROJECT_SECRETS = (ROOT / "manager.toml", ROOT / ".git")

NO_SANDBOX_ON_ASCEND = (
    "not taken by itself on Ascend: its driver takes a mount namespace for a container and gives "
    "a card to one container alone"
)
"""Read in the driver's public source and in reports of its users; never tried by this project."""


NOT_TRIED = (
    "nothing is tried on the machines of a cluster; what ISOLATION names is used there as it works "
    "here, and a machine where it does not starts nothing"
)


def choose(settings: Settings, starts: bool) -> tuple[Launcher, Cluster]:
    """Make the launcher, and what asks its engine how the machines are.

    That of this machine gets what trials show to keep instances apart best.

    Raises:
        SettingsError: what was asked for does not work here.
    """
    engine = engine_of(settings, _mark(settings)) if settings.launcher != LOCAL else None
    if engine is not None:
        return _far(settings, engine, _isolation(settings, starts) if _named(settings) else None)
    if settings.launcher != LOCAL:
        raise SettingsError(f"LAUNCHER = {settings.launcher}: there is no such engine here")
    launcher = LocalLauncher(settings.data_dir / "runs", _isolation(settings, starts))
    return launcher, Cluster(settings.ports, cards.kind_in_force(settings), None)


def _isolation(settings: Settings, starts: bool) -> Isolation:
    find = trial.choose if starts else trial.lowest
    isolation = find(settings, _host(settings), ours(settings))
    if starts:
        logger.info("%s", trial.summary(isolation))
    return isolation


def _named(settings: Settings) -> bool:
    """Tell whether a level was asked for: what is the best here may not be had elsewhere."""
    return settings.isolation != "auto"


def _far(
    settings: Settings, engine: Engine, isolation: Isolation | None
) -> tuple[Launcher, Cluster]:
    kind = cards.kind_in_force(settings)

    def place(spec: LaunchSpec) -> Placement:
        node = settings.row(spec.port).wanted_node
        return Placement(node, 1, kind, cluster.hosts(node))

    authority = Authority(settings.data_dir / AUTHORITY)
    launcher = FarLauncher(
        settings.data_dir / "runs",
        engine,
        place=place,
        authority=authority,
        python=settings.cluster_python or "python3",
        reach=settings.external_ip,
        isolation=isolation,
    )

    def levels() -> list[Node]:
        refused = {} if isolation else {"landlock": NOT_TRIED}
        return [replace(node, refused={**refused, **node.refused}) for node in launcher.probe()]

    cluster = Cluster(settings.ports, kind, launcher.facts, levels, listen=launcher.run)
    return launcher, cluster


def _mark(settings: Settings) -> str:
    """Give what tells this manager's jobs from all others; who asks the engine sees it."""
    key = secret_key(settings.data_dir / "cluster_mark", readable=True)
    return hashlib.sha256(key).hexdigest()[:16]


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


def ours(settings: Settings) -> tuple[Path, ...]:
    """List what no instance may see."""
    ours = (settings.data_dir, settings.database_path, settings.caddyfile, settings.log_path)
    key = (settings.tls_key,) if settings.tls == "files" else ()
    return (*ours, *key, *modes.operators_secrets(settings), *PROJECT_SECRETS)
