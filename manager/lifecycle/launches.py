"""How an instance's launch begins: what must be true before, and what it is made of."""

from __future__ import annotations

from manager import cards, workspace
from manager.errors import LaunchFailed
from manager.launcher.command import build_command
from manager.launcher.protocol import Launcher, LaunchSpec
from manager.records import Instance, User
from manager.settings import Settings
from manager.store import Store


class Launches:
    """Begins the launches of one manager."""

    def __init__(self, settings: Settings, store: Store, launcher: Launcher) -> None:
        """Bind."""
        self._settings = settings
        self._store = store
        self._launcher = launcher

    def begin(self, row: Instance) -> None:
        """Begin a row's launch.

        Raises:
            LaunchFailed: it cannot be begun; the message says why.
            WorkspaceFailed: the user's folders cannot be used.
        """
        user = self._store.read(lambda t: t.users.get(row.user_id or 0))
        if user is None or user.workspace is None:
            raise LaunchFailed("the account is gone")
        if row.secret is None:
            raise LaunchFailed("this start was asked of an earlier version; start again")
        self._launcher.start(self._spec(row, user, user.workspace))

    def _spec(self, row: Instance, user: User, folder_name: str) -> LaunchSpec:
        folder = workspace.prepare(self._settings, folder_name)
        entry = self._settings.row(row.port)
        kind = cards.kind_in_force(self._settings)
        launch_id = row.launch_id or ""
        command = build_command(self._settings, entry, kind, folder, launch_id)
        return LaunchSpec(
            launch_id,
            command.argv,
            command.env,
            command.cwd,
            self._settings.instance_log_max_bytes,
            labels={
                "user_id": str(user.id),
                "username": user.username,
                "port": str(row.port),
                "card": str(entry.card),
            },
            guard="flask" if command.demo else "aiohttp",
            secret=row.secret,
            port=row.port,
            user_id=user.id,
            writable=(folder.path,),
            readable=command.readable,
        )
