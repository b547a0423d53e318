"""Makes the engine that the settings name."""

from __future__ import annotations

from manager.launcher.ray.engine import RayEngine
from manager.launcher.slurm.engine import SlurmEngine
from manager.launcher.slurm.words import kind_of
from manager.settings import Settings


def engine_of(settings: Settings, mark: str) -> RayEngine | SlurmEngine | None:
    """Make it; None where instances run on this machine alone.

    ``mark`` tells this manager's jobs from all others in the cluster: letters, digits and dashes,
    the same after each restart.

    Raises:
        SettingsError: it cannot be asked with these settings.
    """
    if settings.launcher == "ray":
        return RayEngine(
            settings.ray_address,
            mark,
            token_file=settings.ray_token_file,
            ca_file=settings.ray_ca_file,
        )
    if settings.launcher == "slurm":
        named = (("partition", settings.slurm_partition), ("account", settings.slurm_account))
        more = [f"--{option}={value}" for option, value in named if value]
        gres = settings.slurm_gres
        return SlurmEngine(
            mark,
            gres=gres,
            kind=kind_of(settings.card_kind, gres),
            more=[*more, *settings.slurm_options],
        )
    return None
