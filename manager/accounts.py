"""Accounts and logins: who somebody is and what an admin may change about them.

Passwords are hashed by Werkzeug's scrypt, at most two at a time and off the green loop. A wrong
name and a wrong password cost the same time and get the same answer. Ends sessions at once when
an account is disabled, deleted or gets another password. Never starts or stops an instance.
"""

from __future__ import annotations

import secrets
import time
import unicodedata
from collections.abc import Callable
from typing import Final

from manager import credentials
from manager.credentials import FIRST_ADMIN, check_password, check_username
from manager.errors import BadInput, Conflict, NotAuthenticated, NotFound
from manager.records import AuditEntry, User
from manager.settings import Settings
from manager.store import Store, Tables
from manager.throttle import Throttle


class Unchanged:
    """Marks what an update leaves alone, where None has a meaning of its own."""


UNCHANGED: Final = Unchanged()


class Accounts:
    """The accounts of one store."""

    def __init__(
        self, settings: Settings, store: Store, clock: Callable[[], float] = time.time
    ) -> None:
        """Bind; ``clock`` gives UTC epoch seconds."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._throttle = Throttle()

    def ensure_admin(self) -> bool:
        """Make the first admin where there is no account at all; tell whether it was made."""
        name, password = FIRST_ADMIN
        if self._store.read(lambda t: t.users.count()):
            return False
        hashed = credentials.hash_password(password)

        def work(t: Tables) -> bool:
            if t.users.count():
                return False
            t.users.insert(
                name, hashed, is_admin=True, assigned_port=None, must_change_password=True
            )
            return True

        return self._store.write(work)

    def login(self, username: str, password: str, address: str) -> tuple[User, str]:
        """Check name and password and open a session.

        Returns:
            The account and the session's id, which only the browser keeps.

        Raises:
            NotAuthenticated: name and password do not match, or the account is disabled.
            TooManyAttempts: too many tries of this name or from this address.
        """
        username = unicodedata.normalize("NFC", username)[:256]
        self._throttle.attempt(username, address)
        user = self._store.read(lambda t: t.users.by_name(username))
        stored = self._store.read(lambda t: t.users.password_hash(user.id)) if user else ""
        if not credentials.matches(stored, password) or user is None or not user.is_active:
            self._note(username, "login_failed", username, address=address)
            raise NotAuthenticated("name and password do not match", reason="login")
        self._throttle.succeeded(username, address)
        session_id = secrets.token_urlsafe(32)
        # The printed first password is known to everybody, wherever the database came from.
        must_change = user.must_change_password or (username, password) == FIRST_ADMIN

        def work(t: Tables) -> User:
            if must_change and not user.must_change_password:
                t.users.set_password(user.id, stored, must_change=True)
            now = self._clock()
            t.sessions.remove_expired(now)
            expires_at = now + self._settings.session_hours * 3600
            t.sessions.add(session_id, user.id, now, expires_at, address)
            t.audit.add(self._entry(username, "login", username, address=address))
            return t.users.get(user.id) or user

        return self._store.write(work), session_id

    def who(self, session_id: str) -> User | None:
        """Find the account behind a session's id; None when it has ended."""
        session = self._store.read(lambda t: t.sessions.find(session_id, self._clock()))
        return session.user if session else None

    def logout(self, session_id: str) -> None:
        """End a session."""
        self._store.write(lambda t: t.sessions.remove(session_id))

    def change_password(self, user: User, old: str, new: str, *, keep_sid: str) -> None:
        """Set a user's own password; ends every other session of the account.

        Raises:
            NotAuthenticated: the old password is wrong.
            BadInput: the new one is not allowed.
            TooManyAttempts: too many wrong old ones.
        """
        self._throttle.attempt(user.username, "password change")
        stored = self._store.read(lambda t: t.users.password_hash(user.id))
        if not credentials.matches(stored, old):
            raise NotAuthenticated("the current password is wrong", reason="wrong_password")
        self._throttle.succeeded(user.username, "password change")
        if new == old:
            raise BadInput("the new password must differ from the old one", reason="same_password")
        check_password(user.username, new)
        hashed = credentials.hash_password(new)

        def work(t: Tables) -> None:
            t.users.set_password(user.id, hashed, must_change=False)
            t.sessions.remove_of(user.id, keep=keep_sid)
            t.audit.add(self._entry(user.username, "password_changed", user.username))

        self._store.write(work)

    def users(self) -> list[User]:
        """List the accounts by name."""
        return self._store.read(lambda t: t.users.all())

    def user(self, user_id: int) -> User:
        """Give an account.

        Raises:
            NotFound: there is none with this id.
        """
        return _found(self._store.read(lambda t: t.users.get(user_id)))

    def create_user(
        self,
        actor: User,
        username: str,
        password: str,
        *,
        is_admin: bool = False,
        assigned_port: int | None = None,
    ) -> User:
        """Add an account, whose password must be changed at its first login.

        Raises:
            BadInput: the name, password or port is not allowed.
            Conflict: the name is taken.
        """
        username = check_username(username)
        check_password(username, password)
        self._check_port(assigned_port)
        hashed = credentials.hash_password(password)

        def work(t: Tables) -> User:
            if t.users.name_taken(username):
                raise Conflict(
                    f"the name {username} is taken", reason="username_taken", username=username
                )
            user_id = t.users.insert(
                username,
                hashed,
                is_admin=is_admin,
                assigned_port=assigned_port,
                must_change_password=True,
            )
            t.audit.add(self._entry(actor.username, "user_created", username))
            return _found(t.users.get(user_id))

        return self._store.write(work)

    def update_user(
        self,
        actor: User,
        user_id: int,
        *,
        is_active: bool | None = None,
        is_admin: bool | None = None,
        assigned_port: int | Unchanged | None = UNCHANGED,
    ) -> User:
        """Change an account's rights or port; ends its sessions when it is disabled.

        Raises:
            NotFound: there is no such account.
            BadInput: the port table has no such port.
            Conflict: the last admin would go, or somebody would lock himself out.
        """
        if not isinstance(assigned_port, Unchanged):
            self._check_port(assigned_port)

        def work(t: Tables) -> User:
            user = _found(t.users.get(user_id))
            active = user.is_active if is_active is None else is_active
            admin = user.is_admin if is_admin is None else is_admin
            if actor.id == user_id and not (active and admin) and user.is_admin:
                raise Conflict("you cannot take this from yourself", reason="yourself")
            port = user.assigned_port if isinstance(assigned_port, Unchanged) else assigned_port
            t.users.set_rights(user_id, is_admin=admin, is_active=active, assigned_port=port)
            _keep_an_admin(t)
            if not active:
                t.sessions.remove_of(user_id)
            detail = f"active={active} admin={admin} port={port or 'any'}"
            t.audit.add(self._entry(actor.username, "user_changed", user.username, detail))
            return _found(t.users.get(user_id))

        return self._store.write(work)

    def delete_user(self, actor: User, user_id: int) -> None:
        """Remove an account; its files stay on disk.

        Raises:
            NotFound: there is no such account.
            Conflict: it holds an instance, is the last admin, or the actor's own.
        """

        def work(t: Tables) -> None:
            user = _found(t.users.get(user_id))
            if actor.id == user_id:
                raise Conflict("you cannot delete yourself", reason="yourself")
            if t.ports.of_user(user_id):
                raise Conflict(
                    "the user's ComfyUI is running; stop it first", reason="still_running"
                )
            t.users.delete(user_id)
            _keep_an_admin(t)
            t.audit.add(self._entry(actor.username, "user_deleted", user.username))

        self._store.write(work)

    def reset_password(self, actor: User, user_id: int) -> str:
        """Give an account a generated password, shown once, to be changed at the next login.

        Raises:
            NotFound: there is no such account.
        """
        password = secrets.token_urlsafe(9)
        hashed = credentials.hash_password(password)

        def work(t: Tables) -> None:
            user = _found(t.users.get(user_id))
            t.users.set_password(user_id, hashed, must_change=True)
            t.sessions.remove_of(user_id)
            t.audit.add(self._entry(actor.username, "password_reset", user.username))

        self._store.write(work)
        return password

    def _check_port(self, port: int | None) -> None:
        ports = [row.port for row in self._settings.ports]
        if port is not None and port not in ports:
            listed = ", ".join(str(p) for p in ports)
            raise BadInput(
                f"there is no port {port}; there are {listed}", reason="port", ports=listed
            )

    def _note(self, actor: str, action: str, subject: str, *, address: str = "") -> None:
        entry = self._entry(actor, action, subject, address=address)
        self._store.write(lambda t: t.audit.add(entry))

    def _entry(
        self, actor: str, action: str, subject: str, detail: str = "", address: str = ""
    ) -> AuditEntry:
        return AuditEntry(self._clock(), actor, action, subject, detail, address)


def _found(user: User | None) -> User:
    if user is None:
        raise NotFound("there is no such user", reason="user")
    return user


def _keep_an_admin(t: Tables) -> None:
    if not t.users.active_admins():
        raise Conflict("the last admin must stay", reason="last_admin")
