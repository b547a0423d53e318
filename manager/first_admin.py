"""The first account of a house: which password it gets, and from where the printed one is taken.

Part of ``accounts``. The README prints ``admin`` / ``admin123``, so that nobody is locked out of a
house that he has just set up. As long as it stands it is no secret, and is taken from this machine
and private networks alone.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from manager import credentials
from manager.credentials import FIRST_ADMIN
from manager.doorkeeper import REFUSED
from manager.errors import BadInput, NotPermitted, SettingsError
from manager.networks import within
from manager.records import AuditEntry, User
from manager.setting_fields import FROM_FILE, PRINTED, RANDOM
from manager.settings import Settings
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

NEAR: Final = (
    # This machine: RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3.
    *("127.0.0.0/8", "::1/128"),
    # Private and link-local: RFC 1918, RFC 4193, RFC 3927, RFC 4291 section 2.5.6.
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    *("169.254.0.0/16", "fe80::/10"),
)
OTHERS: Final = 0o077

Show = Callable[[str], None]
"""Says a password to the person at the terminal, and to no log."""


class FirstAdmin:
    """The account ``admin`` of one store, until it has a password of its own."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], float]) -> None:
        """Bind; ``clock`` gives UTC epoch seconds."""
        self._settings = settings
        self._clock = clock
        self._store = store
        self._known: dict[str, bool] = {}

    def ensure(self, show: Show | None = None) -> bool:
        """Make the first admin where there is no account at all; tell whether it was made.

        His password is what FIRST_ADMIN_PASSWORD says; a random one is handed to ``show`` once it
        is in force, and is kept nowhere.

        Raises:
            SettingsError: a random one is wanted and nobody is there to be shown it, or the file
                with it cannot be used.
        """
        if self._store.read(lambda t: t.users.count()):
            return False
        password = self._password(show)
        hashed = credentials.hash_password(password)

        def work(t: Tables) -> bool:
            if t.users.count():
                return False
            t.users.insert(
                FIRST_ADMIN[0], hashed, is_admin=True, assigned_port=None, must_change_password=True
            )
            return True

        made = self._store.write(work)
        if made and show is not None and self._settings.first_admin_password == RANDOM:
            show(password)
        return made

    def _password(self, show: Show | None) -> str:
        if self._settings.first_admin_password == FROM_FILE:
            return _read(self._settings.first_admin_password_file, self._settings.external_ip)
        if self._settings.first_admin_password == PRINTED:
            return FIRST_ADMIN[1]
        if show is None:
            raise SettingsError(
                "FIRST_ADMIN_PASSWORD = random, and there is no account yet: "
                "'./start_manager.sh first-admin' makes one and shows its password, once; then "
                "start again"
            )
        return credentials.new_password()

    def is_known(self) -> bool:
        """Tell whether the printed password opens the account ``admin``.

        Costs one hash for each new password of that account, off the green loop.
        """
        stored = self._store.read(
            lambda t: (
                t.users.password_hash(user.id)
                if (user := t.users.by_name(FIRST_ADMIN[0])) and user.is_active
                else ""
            )
        )
        if stored not in self._known:
            fits = bool(stored) and credentials.matches(stored, FIRST_ADMIN[1], known=True)
            self._known = {stored: fits}
        return self._known[stored]

    def at_login(self, user: User, stored: str, address: str, *named: str) -> None:
        """Take the printed password from here and private networks alone, and have it changed.

        It is known to everybody, wherever the database came from.

        Args:
            user: who has shown it.
            stored: its hash.
            address: from where the visitor comes.
            named: whatever other addresses a proxy names; each has to be near, too.

        Raises:
            NotPermitted: one of them lies elsewhere.
        """
        near = (*NEAR, *self._settings.admin_networks)
        if not all(within(one, near) for one in (address, *named)):
            logger.warning(REFUSED, address, "first password")
            name = user.username
            entry = AuditEntry(self._clock(), name, "login_failed", name, "", address)
            self._store.write(lambda t: t.audit.add(entry))
            raise NotPermitted(
                "this password stands in the README and is taken from this machine and private "
                "networks alone, until it is changed",
                reason="first_password",
            )
        if not user.must_change_password:
            self._store.write(lambda t: t.users.set_password(user.id, stored, must_change=True))


def _read(path: Path, server: str) -> str:
    """Read the operator's choice.

    Raises:
        SettingsError: it cannot be read, others can read it, or it is no good password.
    """
    named = f"FIRST_ADMIN_PASSWORD_FILE = {path}"
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - follows a link, as secrets' mounts are some
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise SettingsError(f"{named} cannot be read: {why}") from error
    if mode & OTHERS:
        raise SettingsError(f"{named} can be read by other accounts: chmod 600 {path}")
    if not text.isprintable():
        raise SettingsError(f"{named} has to hold one line, the password")
    try:
        credentials.check_password(FIRST_ADMIN[0], text, server)
    except BadInput as error:
        raise SettingsError(f"{named} has to hold a good password: {error}") from error
    return text
