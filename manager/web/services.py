"""What the routes share: the built manager, the live connections, and acts that touch both."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app, session

from manager.errors import NotRunning
from manager.records import User
from manager.web.guard import HALF_WAY_KEY, SESSION_KEY, current_sid
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

    def go_half_way(self, ticket: str) -> None:
        """Have the browser keep what takes a code, in place of any login before."""
        self.end_session(current_sid())
        session.clear()
        session[HALF_WAY_KEY] = ticket

    def end_session(self, sid: str) -> None:
        """Log a session out and close what it has open."""
        if sid:
            self.manager.accounts.logout(sid)
            self.live.accounts_changed()

    def renew_session(self) -> None:
        """Give the login under way another id, as what opens its account has changed."""
        old = current_sid()
        session[SESSION_KEY] = new = self.manager.accounts.own.renew(old)
        self.live.session_renewed(old, new)
        self.live.accounts_changed()

    def change_password(self, user: User, old: str, new: str) -> None:
        """Set a user's own password; his other sessions end."""
        self.manager.accounts.change_password(user, old, new, keep_sid=current_sid())
        self.renew_session()


def services() -> Services:
    """Give the services of the application that answers."""
    found: Services = current_app.extensions[EXTENSION]
    return found
