"""Makes the engine that the settings name."""

from __future__ import annotations

from manager.launcher.ray.engine import RayEngine
from manager.settings import Settings


def engine_of(settings: Settings, mark: str) -> RayEngine | None:
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
    return None
