"""Which launcher there is: that of this machine, or one over the engine of a cluster.

Of all rooms only ``bootstrap`` asks here; all others are handed a ``Launcher`` and know no more.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from manager import cards
from manager.cards import handles
from manager.cluster import Cluster
from manager.launcher import command, trial
from manager.launcher.local import LocalLauncher
from manager.launcher.protocol import Launcher
from manager.launcher.trial import Host
from manager.settings import ROOT, Settings

logger = logging.getLogger(__name__)

PROJECT_SECRETS = (ROOT / "manager.toml", ROOT / ".git")

NO_SANDBOX_ON_ASCEND = (
    "not taken by itself on Ascend: its driver takes a mount namespace for a container and gives "
    "a card to one container alone"
)
"""Read in the driver's public source and in reports of its users; never tried by this project."""


def choose(settings: Settings, starts: bool) -> tuple[Launcher, Cluster]:
    """Make the launcher, and what asks its engine how the machines are.

    That of this machine gets what trials show to keep instances apart best.

    Raises:
        SettingsError: what was asked for does not work here.
    """
    find = trial.choose if starts else trial.lowest
    isolation = find(settings, _host(settings), ours(settings))
    if starts:
        logger.info("%s", trial.summary(isolation))
    launcher = LocalLauncher(settings.data_dir / "runs", isolation)
    return launcher, Cluster(settings.ports, cards.kind_in_force(settings), None)


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
    shared = (settings.oidc_client_secret_file,) if settings.oidc_issuer else ()
    return (*ours, *key, settings.webhooks_file, settings.ray_token_file, *shared, *PROJECT_SECRETS)
