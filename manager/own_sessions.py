"""A person's own logins: where they are, and ending them one by one or all but this one.

Part of ``accounts``. The id of a login is known to its browser alone; a page that lists logins gets
the beginning of the id's hash, which opens nothing and is enough to tell one's few logins apart.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from manager.errors import NotFound, StoreFailed
from manager.records import AuditEntry, OwnSession, User
from manager.store import Store, Tables

SEEN_EVERY_S = 600
"""A login's last visit is written no more often; the machine at rest writes nothing."""

USER_AGENT_LENGTH = 256
MOST_REMEMBERED = 4096


class OwnSessions:
    """The logins of one store, each for its owner."""

    def __init__(self, store: Store, clock: Callable[[], float], idle_limit_s: float = 0.0) -> None:
        """Bind; ``clock`` gives UTC epoch seconds, ``idle_limit_s`` of 0 is none."""
        self._store = store
        self._idle_limit_s = idle_limit_s
        self._seen_every_s = min(SEEN_EVERY_S, idle_limit_s / 10 or SEEN_EVERY_S)
        self._clock = clock
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()

    def seen(self, session_id: str, user_agent: str) -> None:
        """Note that a login is in use, now and then; what cannot be written is let go."""
        now = self._clock()
        with self._lock:
            if now - self._written.get(session_id, 0.0) < self._seen_every_s:
                return
            if len(self._written) >= MOST_REMEMBERED:
                self._written.clear()
            self._written[session_id] = now
        shown = user_agent[:USER_AGENT_LENGTH]
        try:
            self._store.write(lambda t: t.sessions.note_visit(session_id, now, shown))
        except StoreFailed:
            # A full disk must not keep anybody from looking at his page.
            return

    def used_since(self) -> float:
        """Give the time (epoch seconds) since which a login must have been used to be in force.

        A use is written late by up to the time between two visits that are written, so the limit
        may be a tenth longer than was asked for, and is never shorter.
        """
        if not self._idle_limit_s:
            return 0.0
        return self._clock() - self._idle_limit_s - self._seen_every_s

    def owners(self, session_ids: Collection[str]) -> Mapping[str, User]:
        """Give whose logins these are, in one look; one that has ended is missing."""
        now, used_since = self._clock(), self.used_since()
        return self._store.read(lambda t: t.sessions.owners(session_ids, now, used_since))

    def renew(self, session_id: str) -> str:
        """Give a login another id, so that one somebody has got hold of before is worth nothing.

        Returns:
            The new id; the old one where the login has ended by now.
        """
        new_id = secrets.token_urlsafe(32)
        there = self._store.write(lambda t: t.sessions.renew(session_id, new_id))
        return new_id if there else session_id

    def list(self, user: User, session_id: str) -> list[OwnSession]:
        """List a user's logins in force, the one with ``session_id`` first, then the newest."""
        now = self._clock()
        used_since = self.used_since()
        found = self._store.read(lambda t: t.sessions.of_user(user.id, session_id, now, used_since))
        return sorted(found, key=lambda one: (not one.is_this, -(one.seen_at or one.created_at)))

    def end(self, user: User, handle: str) -> None:
        """End one of a user's logins.

        Raises:
            NotFound: he has none of this handle.
        """

        def work(t: Tables) -> None:
            if not t.sessions.remove_by_handle(user.id, handle):
                raise NotFound("there is no such login", reason="session")
            t.audit.add(self._entry(user, "session_ended"))

        self._store.write(work)

    def end_others(self, user: User, session_id: str) -> None:
        """End all of a user's logins but the one with ``session_id``."""

        def work(t: Tables) -> None:
            t.sessions.remove_of(user.id, keep=session_id)
            t.audit.add(self._entry(user, "sessions_ended"))

        self._store.write(work)

    def end_all(self, actor: User, user_id: int) -> User:
        """End all of somebody's logins, by an admin; his account and his API tokens stay.

        Raises:
            NotFound: there is no such account.
        """

        def work(t: Tables) -> User:
            user = t.users.get(user_id)
            if user is None:
                raise NotFound("there is no such user", reason="user")
            t.sessions.remove_of(user_id)
            entry = self._entry(user, "sessions_ended")
            t.audit.add(replace(entry, actor=actor.username))
            return user

        return self._store.write(work)

    def _entry(self, user: User, action: str) -> AuditEntry:
        return AuditEntry(self._clock(), user.username, action, user.username, "", "")
