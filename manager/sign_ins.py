"""Logins through an OpenID Connect provider: whose account a person of the provider has here.

Part of ``accounts``. A person is known by issuer and subject alone. His name there is no proof of
anything, since many providers let people change it: an account is tied to the first person of its
name only where an admin has allowed just that, and the permit is used up by it. Who the person is
was settled before, by ``oidc``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Final

from manager.credentials import check_username
from manager.errors import BadInput, Conflict, NotAuthenticated, NotFound
from manager.records import AuditEntry, User
from manager.settings import Settings
from manager.sign_in_records import Identity, Tie
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

SERVICE: Final = "sign-in service"
"""Who the audit says has done what follows from a group; no account's name has a blank."""

NO_PASSWORD: Final = ""
"""An empty hash, which no password fits."""

Begin = Callable[[Tables, User, str, bool], tuple[User, str]]
"""Opens a session for a user at an address; the last says whether he came by the provider."""


class SignIns:
    """The ties of one store's accounts to people of the provider."""

    def __init__(
        self, settings: Settings, store: Store, clock: Callable[[], float], begin: Begin
    ) -> None:
        """Bind; ``clock`` gives UTC epoch seconds."""
        self._settings = settings
        self._store = store
        self._clock = clock
        self._begin = begin

    def comes_in(self, who: Identity, address: str) -> tuple[User, str]:
        """Open a session for a person whom the provider has vouched for.

        Returns:
            The account and the session's id, which only the browser keeps.

        Raises:
            NotAuthenticated: he has no account here, may not be tied to one, or it is disabled.
        """

        def work(t: Tables) -> tuple[User, str]:
            user = self._account(t, who)
            if not user.is_active:
                # Nothing of the above holds then: it is one transaction.
                raise NotAuthenticated("the account is disabled", reason="sign_in_disabled")
            user = self._by_group(t, user, who)
            return self._begin(t, user, address, True)

        try:
            return self._store.write(work)
        except NotAuthenticated as error:
            self._note_refusal(who, error, address)
            raise

    def tie_of(self, user: User) -> Tie:
        """Say how an account stands to the provider."""
        return self._store.read(lambda t: t.sign_ins.of(self._settings.oidc_issuer, user.id))

    def ties(self) -> Mapping[int, Tie]:
        """Say it of every account, by id."""
        return self._store.read(lambda t: t.sign_ins.all(self._settings.oidc_issuer))

    def has_password(self, user: User) -> bool:
        """Tell whether a password opens an account at all."""
        return self._store.read(lambda t: t.users.password_hash(user.id)) != NO_PASSWORD

    def allow(self, actor: User, user_ids: Collection[int], *, allowed: bool) -> None:
        """Let accounts be tied to the next person of their name, once; or take that back.

        One that is tied already is left alone.

        Raises:
            NotFound: there is no such account. Nothing is changed then.
        """

        def work(t: Tables) -> None:
            ties = t.sign_ins.all(self._settings.oidc_issuer)
            for user_id in sorted(set(user_ids)):
                user, tie = _found(t.users.get(user_id)), ties[user_id]
                if tie.subject is not None or allowed == (tie.allowed_at is not None):
                    continue
                if allowed:
                    t.sign_ins.allow(user_id, self._clock())
                else:
                    t.sign_ins.forbid(user_id)
                action = "sign_in_allowed" if allowed else "sign_in_forbidden"
                t.audit.add(self._entry(actor.username, action, user.username))

        self._store.write(work)

    def untie(self, actor: User, user_ids: Collection[int]) -> None:
        """Forget whom accounts are tied to, and end their logins.

        Raises:
            NotFound: there is no such account.
            Conflict: it is the actor's own. Nothing is changed then.
        """

        def work(t: Tables) -> None:
            for user_id in sorted(set(user_ids)):
                user = _found(t.users.get(user_id))
                if user_id == actor.id:
                    raise Conflict("you cannot take this from yourself", reason="yourself")
                if t.sign_ins.untie(self._settings.oidc_issuer, user_id):
                    ended = t.end_logins(user_id)
                    entry = self._entry(actor.username, "sign_in_untied", user.username, ended)
                    t.audit.add(entry)

        self._store.write(work)

    def _account(self, t: Tables, who: Identity) -> User:
        owner = t.sign_ins.owner(who.issuer, who.subject)
        user = t.users.get(owner) if owner is not None else None
        if user is not None:
            return user
        name = _name(who)
        # ``Bob`` and ``bob`` are one person to people.
        same = [one for one in t.users.all() if one.username.casefold() == name.casefold()]
        if not same:
            return self._newcomer(t, who, name)
        if len(same) > 1 or t.sign_ins.of(who.issuer, same[0].id).allowed_at is None:
            raise NotAuthenticated("the account is not open to it", reason="sign_in_not_tied")
        return self._tied(t, who, same[0])

    def _newcomer(self, t: Tables, who: Identity, name: str) -> User:
        if not self._settings.oidc_create_users:
            raise NotAuthenticated("nobody here is this person", reason="sign_in_not_tied")
        user_id = t.users.insert(
            name, NO_PASSWORD, is_admin=False, assigned_port=None, must_change_password=False
        )
        t.audit.add(self._entry(SERVICE, "user_created", name))
        return self._tied(t, who, _found(t.users.get(user_id)))

    def _tied(self, t: Tables, who: Identity, user: User) -> User:
        if t.sign_ins.of(who.issuer, user.id).subject is not None:
            raise NotAuthenticated("it is another person's", reason="sign_in_not_tied")
        t.sign_ins.tie(who.issuer, who.subject, user.id, self._clock())
        detail = f"subject={who.subject}"
        t.audit.add(self._entry(SERVICE, "sign_in_tied", user.username, detail))
        return user

    def _by_group(self, t: Tables, user: User, who: Identity) -> User:
        """Make an admin of who is in the group, and a user of who is not; one admin stays."""
        if who.is_admin is None or who.is_admin == user.is_admin:
            return user
        if user.is_admin and t.users.active_admins() < 2:
            logger.warning("%s is in no group of admins, but the last one", user.username)
            return user
        t.users.set_rights(
            user.id,
            is_admin=who.is_admin,
            is_active=user.is_active,
            assigned_port=user.assigned_port,
        )
        if not who.is_admin:
            t.api_tokens.remove_of(user.id, scope="admin")
        detail = f"active={user.is_active} admin={who.is_admin} port={user.assigned_port or 'any'}"
        t.audit.add(self._entry(SERVICE, "user_changed", user.username, f"{detail} by its group"))
        return _found(t.users.get(user.id))

    def _note_refusal(self, who: Identity, error: NotAuthenticated, address: str) -> None:
        detail = f"{SERVICE}: {error.message}; subject={who.subject}"
        entry = self._entry(who.username, "login_failed", who.username, detail, address)
        self._store.write(lambda t: t.audit.add(entry))

    def _entry(
        self, actor: str, action: str, subject: str, detail: str = "", address: str = ""
    ) -> AuditEntry:
        return AuditEntry(self._clock(), actor, action, subject, detail, address)


def _name(who: Identity) -> str:
    try:
        return check_username(who.username)
    except BadInput as error:
        raise NotAuthenticated("the name is not allowed here", reason="sign_in_name") from error


def _found(user: User | None) -> User:
    if user is None:
        raise NotFound("there is no such user", reason="user")
    return user
