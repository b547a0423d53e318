"""Files that hold secrets are for this account alone: looked at on each start, mended or refused.

A copy made by hand (``cp comfyui_manager.db comfyui_manager.db.backup``), a restored backup or an
old umask leave them readable for everybody on the machine. Reads no file but the Caddyfile.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from manager.errors import SettingsError
from manager.setting_fields import FROM_FILE
from manager.settings import Settings

logger = logging.getLogger(__name__)

OTHERS = stat.S_IRWXG | stat.S_IRWXO
PRIVATE = 0o600

_TOKEN_OF = re.compile(r"token_[0-9]")
"""What only an open gate has in the Caddyfile; for all of them it says ``token_{args[0]}``."""


def mend(settings: Settings) -> list[Path]:
    """Take other accounts' rights from files with secrets; give those that needed it.

    Raises:
        SettingsError: a file belongs to another account, or its mode cannot be changed.
    """
    return [path for path in _secret_files(settings) if _mended(path)]


def _mended(path: Path) -> bool:
    try:
        found = path.stat()
        if found.st_uid not in {os.geteuid(), 0}:
            raise SettingsError(
                f"{path} belongs to account {found.st_uid}, who can read and change it; "
                f"give it to account {os.geteuid()} (chown), or move it away"
            )
        if not found.st_mode & OTHERS:
            return False
        path.chmod(PRIVATE)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SettingsError(
            f"{path} is open to other accounts and cannot be closed: {error.strerror}"
        ) from error
    was = stat.S_IMODE(found.st_mode)
    logger.warning("%s was open to other accounts (mode %03o) and is closed now", path, was)
    return True


def _secret_files(settings: Settings) -> Iterator[Path]:
    yield settings.data_dir / "secret_key"
    yield settings.data_dir / "caddy" / "admin_key"
    yield from operators_secrets(settings)
    for base in (settings.database_path, settings.log_path):
        # With what SQLite keeps beside it, older logs, and copies that somebody made.
        yield from (path for path in sorted(base.parent.glob(f"{base.name}*")) if path.is_file())
    if _holds_tokens(settings.caddyfile):
        yield settings.caddyfile


def operators_secrets(settings: Settings) -> Iterator[Path]:
    """List the files with secrets that the operator wrote for the manager, if they are in use."""
    yield settings.webhooks_file
    if settings.oidc_issuer:
        yield settings.oidc_client_secret_file
    if settings.first_admin_password == FROM_FILE:
        yield settings.first_admin_password_file
    if settings.launcher == "ray":
        yield settings.ray_token_file


def _holds_tokens(caddyfile: Path) -> bool:
    """Tell a Caddyfile with open gates from the shipped one, which anybody may read."""
    try:
        return (
            _TOKEN_OF.search(caddyfile.read_text(encoding="utf-8").partition("# >>> ")[2])
            is not None
        )
    except (OSError, UnicodeDecodeError):
        return False
