"""Accounts and logins: who somebody is and what an admin may change about them.

Passwords are hashed by Werkzeug's scrypt, at most two at a time and off the green loop. A wrong
name and a wrong password cost the same time and get the same answer. Ends sessions at once when
an account is disabled, deleted or gets another password, and its API tokens with them. Never starts
or stops an instance.
"""

from __future__ import annotations

import secrets
import time
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from manager import credentials
from manager.credentials import FIRST_ADMIN, check_password
from manager.doorkeeper import Doorkeeper
from manager.errors import BadInput, Conflict, NotAuthenticated
from manager.first_admin import FirstAdmin
from manager.networks import within_or_unlimited
from manager.own_sessions import OwnSessions
from manager.people import Newcomer, People, check_port, found, keep_an_admin
from manager.records import AuditEntry, User
from manager.second_factor import SecondFactors
from manager.settings import Settings
from manager.sign_ins import SERVICE, SignIns
from manager.store import Store, Tables


class Unchanged:
    """Marks what an update leaves alone, where None has a meaning of its own."""


UNCHANGED: Final = Unchanged()


class Accounts:
    """The accounts of one store."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        clock: Callable[[], float] = time.time,
        key: bytes = b"",
    ) -> None:
        """Bind; ``clock`` gives UTC epoch seconds. Codes of phones rest on ``key``."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._door = Doorkeeper(store)
        self.own = OwnSessions(store, clock, settings.session_idle_minutes * 60.0)
        self.people = People(settings, store, clock)
        self.first_admin = FirstAdmin(settings, store, clock)
        self.ensure_admin = self.first_admin.ensure
        self.second_factor = SecondFactors(store, self._door, key, clock)
        self.wrong_token = self._door.wrong_token
        self.sign_in_tried = self._door.sign_in_tried
        self.sign_ins = SignIns(settings, store, clock, self._begin)

    def login(self, username: str, password: str, address: str, *named: str) -> tuple[User, str]:
        """Check name and password and open a session.

        Args:
            username: as it was typed.
            password: as it was typed.
            address: from where the visitor comes.
            named: what proxies say of that; it can take rights away and give none.

        Returns:
            The account and the session's id, which only the browser keeps.

        Raises:
            NotAuthenticated: name and password do not match, or the account is disabled.
            CodeRequired: they do, and the account has a second factor: see ``login_by_code``.
            NotPermitted: they are the printed ones, from somewhere they are not taken from.
            TooManyAttempts: too many tries of this name or from this address.
        """
        username = unicodedata.normalize("NFC", username)[:256]
        known = self._door.check(username, password, address)
        if known is None:
            self._note(username, "login_failed", username, address=address)
            raise NotAuthenticated("name and password do not match", reason="login")
        user, stored = known
        if (username, password) == FIRST_ADMIN:
            self.first_admin.at_login(user, stored, address, *named)
        if user.second_factor:
            raise self.second_factor.ask(user, stored)
        return self._store.write(lambda t: self._begin(t, user, address))

    def login_by_code(self, ticket: str, code: str, address: str) -> tuple[User, str]:
        """Open a session for who has shown his password before, and shows a code now.

        Raises:
            NotAuthenticated: the code is wrong, or too late: then he begins anew.
            TooManyAttempts: too many tries of this account or from this address.
            Conflict: the manager has another key than when the second factor was set up.
        """
        user = self.second_factor.answer(ticket, code, address)
        return self._store.write(lambda t: self._begin(t, user, address))

    def _begin(
        self, t: Tables, user: User, address: str, by_provider: bool = False
    ) -> tuple[User, str]:
        """Open a session for who has shown all that is asked for; give it as ``login`` does."""
        session_id, now = secrets.token_urlsafe(32), self._clock()
        t.sessions.remove_expired(now, self.own.used_since())
        expires_at = now + self._settings.session_hours * 3600
        t.sessions.add(session_id, user.id, now, expires_at, address, by_provider=by_provider)
        how = SERVICE if by_provider else ""
        t.audit.add(self._entry(user.username, "login", user.username, how, address))
        return replace(t.users.get(user.id) or user, by_provider=by_provider), session_id

    def forget_attempts(self) -> None:
        """Begin to count wrong passwords anew, so that a new one can be used at once."""
        self._door.forget()

    def who(self, session_id: str, address: str | None = None) -> User | None:
        """Find the account behind a session's id, with its rights ``at`` a given address.

        None when the session has ended.
        """
        now, used_since = self._clock(), self.own.used_since()
        session = self._store.read(lambda t: t.sessions.find(session_id, now, used_since))
        if session is None or address is None:
            return session.user if session else None
        return self.at(session.user, address)

    def at(self, user: User, address: str) -> User:
        """Give a user with the rights of an address: no admin's outside ADMIN_NETWORKS.

        And nowhere an admin's without a second factor, where ADMIN_SECOND_FACTOR wants one. Who
        came by a provider has shown him what the provider wants; he may have no password here.
        """
        if user.is_admin and not within_or_unlimited(address, self._settings.admin_networks):
            return replace(user, is_admin=False)
        required = self._settings.admin_second_factor == "required"
        if required and user.is_admin and not (user.second_factor or user.by_provider):
            return replace(user, is_admin=False, must_set_second_factor=True)
        return user

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
        self._door.confirm(user, old)
        if new == old:
            raise BadInput("the new password must differ from the old one", reason="same_password")
        check_password(user.username, new, self._settings.external_ip)
        hashed = credentials.hash_password(new)

        def work(t: Tables) -> None:
            t.users.set_password(user.id, hashed, must_change=False)
            ended = t.end_logins(user.id, keep_sid)
            t.audit.add(self._entry(user.username, "password_changed", user.username, ended))

        self._store.write(work)

    def users(self) -> list[User]:
        """List the accounts by name."""
        return self._store.read(lambda t: t.users.all())

    def user(self, user_id: int) -> User:
        """Give an account.

        Raises:
            NotFound: there is none with this id.
        """
        return found(self._store.read(lambda t: t.users.get(user_id)))

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
        newcomer = Newcomer(username, password, is_admin, assigned_port)
        return self.people.create(actor, [newcomer])[0].user

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
            check_port(self._settings, assigned_port)

        def work(t: Tables) -> User:
            user = found(t.users.get(user_id))
            active = user.is_active if is_active is None else is_active
            admin = user.is_admin if is_admin is None else is_admin
            if actor.id == user_id and not (active and admin) and user.is_admin:
                raise Conflict("you cannot take this from yourself", reason="yourself")
            port = user.assigned_port if isinstance(assigned_port, Unchanged) else assigned_port
            t.users.set_rights(user_id, is_admin=admin, is_active=active, assigned_port=port)
            keep_an_admin(t)
            detail = f"active={active} admin={admin} port={port or 'any'}"
            if not active:
                detail += t.end_logins(user_id)
                t.line.remove(user_id)
            if not admin:
                t.api_tokens.remove_of(user_id, scope="admin")
            t.audit.add(self._entry(actor.username, "user_changed", user.username, detail))
            return found(t.users.get(user_id))

        return self._store.write(work)

    def delete_user(self, actor: User, user_id: int) -> None:
        """Remove an account; its files stay on disk.

        Raises:
            NotFound: there is no such account.
            Conflict: it holds an instance, is the last admin, or the actor's own.
        """

        def work(t: Tables) -> None:
            user = found(t.users.get(user_id))
            if actor.id == user_id:
                raise Conflict("you cannot delete yourself", reason="yourself")
            if t.ports.of_user(user_id):
                raise Conflict(
                    "the user's ComfyUI is running; stop it first", reason="still_running"
                )
            t.users.delete(user_id)
            keep_an_admin(t)
            t.audit.add(self._entry(actor.username, "user_deleted", user.username))

        self._store.write(work)

    def reset_password(self, actor: User, user_id: int, password: str | None = None) -> str:
        """Give an account a password, else a generated one, to be changed at the next login.

        Raises:
            NotFound: there is no such account.
            BadInput: the password is not allowed.
        """
        if password is not None:
            name = self.user(user_id).username
            check_password(name, password, self._settings.external_ip)
        password = password or credentials.new_password()
        hashed = credentials.hash_password(password)

        def work(t: Tables) -> None:
            user = found(t.users.get(user_id))
            t.users.set_password(user_id, hashed, must_change=True)
            ended = t.end_logins(user_id)
            t.audit.add(self._entry(actor.username, "password_reset", user.username, ended))

        self._store.write(work)
        return password

    def _note(self, actor: str, action: str, subject: str, *, address: str = "") -> None:
        entry = self._entry(actor, action, subject, address=address)
        self._store.write(lambda t: t.audit.add(entry))

    def _entry(
        self, actor: str, action: str, subject: str, detail: str = "", address: str = ""
    ) -> AuditEntry:
        return AuditEntry(self._clock(), actor, action, subject, detail, address)
