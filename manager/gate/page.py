"""Where the manager's own page answers while Caddy serves it by TLS, and how the two meet.

A socket file that only this account may connect to. Code of this account that Landlock keeps from
reading files could connect to it all the same, and name any visitor's address; so Caddy shows a
secret there, which stands in the Caddyfile and can be worked out from the admin secret alone.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import socket
import time
from pathlib import Path

from manager import identity
from manager.errors import SettingsError
from manager.gate import admin, probe, record
from manager.settings import Settings

BACKLOG = 128
FREE_S = 5.0
"""Time that Caddy has to let the port go once it need not serve the page."""

PAUSE_S = 0.02


def socket_path(settings: Settings) -> Path:
    """Give the file; its path is shorter than that of the admin socket, whose length is checked."""
    return settings.data_dir / "caddy" / "page.sock"


def secret_from(admin_secret: str) -> str:
    """Give what Caddy shows: the same for as long as the admin secret is."""
    made = hmac.new(admin_secret.encode(), b"page", hashlib.sha256).hexdigest()
    # As long as every other one, so that what keeps those out of logs keeps this one out too.
    return made[: admin.SECRET_LENGTH]


def secret(settings: Settings) -> str:
    """Give the same, with the admin secret of this data directory.

    Raises:
        SettingsError: it cannot be read or made.
    """
    path = settings.data_dir / "caddy" / "admin_key"
    try:
        return secret_from(admin.read_secret(path))
    except OSError as error:
        raise SettingsError(f"{path} cannot be used: {error.strerror}") from error


def listen(settings: Settings) -> socket.socket:
    """Open the socket for Caddy.

    Raises:
        SettingsError: it cannot be had, or another program has the port that Caddy is to serve.
    """
    host, port = settings.manager_host, settings.manager_port
    if not probe.is_free(host, port) and not is_caddys(settings):
        raise SettingsError(
            f"MANAGER_PORT = {port} on MANAGER_HOST = {host} cannot be listened on: "
            f"{probe.holder(port)} uses it; end that program, or set another port"
        )
    path = socket_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        return _bound(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be listened on: {error.strerror or error}") from error


def _bound(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The path itself may be longer than the kernel's 107 bytes.
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        path.chmod(0o600)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.close(folder)
    return listener


def is_caddys(settings: Settings) -> bool:
    """Tell whether the Caddy of this data directory serves the manager's port."""
    if probe.is_free(settings.manager_host, settings.manager_port):
        return False
    ours = record.read(settings.data_dir / "caddy" / "caddy.json")
    if ours is None or not identity.alive(ours):
        return False
    # Who may not see other accounts' processes finds no number.
    return probe.holder_pid(settings.manager_port) in (None, ours.pid)


def wait_until_free(settings: Settings) -> bool:
    """Wait until nobody has the manager's port, at most ``FREE_S``, and tell whether it is so."""
    deadline = time.monotonic() + FREE_S
    while not (free := probe.is_free(settings.manager_host, settings.manager_port)):
        if time.monotonic() > deadline:
            break
        time.sleep(PAUSE_S)
    return free
