"""Puts the operator's own lines of the Caddyfile into force, from outside of the manager.

``caddy reload`` cannot: it does not show the secret that the admin socket asks for.
"""

from __future__ import annotations

from manager.errors import GateFailed
from manager.gate import admin, caddyfile
from manager.settings import Settings


def reload(settings: Settings) -> None:
    """Have the running Caddy take the Caddyfile as it stands.

    Raises:
        GateFailed: Caddy does not run or refuses it and goes on with what it had; says why.
    """
    home = settings.data_dir / "caddy"
    text = caddyfile.read(settings.caddyfile)
    if text is None:
        raise GateFailed(f"there is no {settings.caddyfile}; {caddyfile.RESTORE}")
    caddyfile.split(text, settings.caddyfile)
    if caddyfile.is_old(text):
        raise GateFailed(
            f"{settings.caddyfile} has the admin line of an earlier version; "
            "./start_manager.sh restart replaces it"
        )
    try:
        secret = (home / "admin_key").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise GateFailed(
            f"{home / 'admin_key'} cannot be read: {error}; the manager makes it when it starts"
        ) from error
    door = admin.find_door(home / "admin.sock", secret)
    if door is None:
        raise GateFailed("Caddy does not answer; the manager starts it: ./start_manager.sh start")
    admin.load(door, caddyfile.with_secret(text, secret))
