"""What the routes share: the built manager, the live connections, and acts that touch both."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app, session

from manager.errors import NotRunning
from manager.records import User
from manager.web.guard import SESSION_KEY, current_sid
from manager.web.house import Manager
from manager.web.live import Live
from manager.web.views import Revision

EXTENSION = "comfyui_manager"


@dataclass(frozen=True)
class Services:
    """The parts that a request needs."""

    manager: Manager
    revision: Revision
    live: Live

    def start(self, user: User) -> None:
        """Begin an instance for a user."""
        self.manager.lifecycle.start(user)

    def stop(self, user: User) -> None:
        """Begin the end of a user's own instance.

        Raises:
            NotRunning: he has none.
        """
        instance = self.manager.lifecycle.of_user(user.id)
        if instance is None:
            raise NotRunning("there is nothing to stop")
        self.manager.lifecycle.stop(instance.port, by=user, reason="user")

    def begin_session(self, sid: str) -> None:
        """Make a login that was just opened the browser's own, in place of any before."""
        self.end_session(current_sid())
        # A new session, also for the CSRF token: whatever the browser held is worth nothing.
        session.clear()
        session[SESSION_KEY] = sid
        session.permanent = True

    def end_session(self, sid: str) -> None:
        """Log a session out and close what it has open."""
        if sid:
            self.manager.accounts.logout(sid)
            self.live.accounts_changed()

    def change_password(self, user: User, old: str, new: str) -> None:
        """Set a user's own password; his other sessions end."""
        self.manager.accounts.change_password(user, old, new, keep_sid=current_sid())
        self.live.accounts_changed()


def services() -> Services:
    """Give the services of the application that answers."""
    found: Services = current_app.extensions[EXTENSION]
    return found
