"""Tokens for scripts: made, listed and ended by their owners and admins, and looked at in requests.

A token is 256 random bits, shown once. The table keeps an HMAC-SHA256 of it under the manager's own
key: there is nothing to guess, so that a slow hash would only make every request slow; and whoever
can write to the database alone can still not put a token of his own into it. Ends with its owner's
password, as logins do (``accounts`` removes both in one transaction).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import threading
import time
from collections.abc import Callable
from typing import Final

from manager.errors import BadInput, Conflict, NotAuthenticated, NotFound, NotPermitted, StoreFailed
from manager.records import AuditEntry, User
from manager.settings import Settings
from manager.store import Store, Tables
from manager.token_records import SCOPES, ApiToken, Bearer

MARK: Final = "cmm_"
"""By which people and scanners for leaked secrets know a token."""

_LETTERS = string.ascii_letters + string.digits
LENGTH: Final = 43
"""Letters and digits, one click selects them all; 43 of 62 kinds are 256 bits."""

_FORM = re.compile(rf"{MARK}[A-Za-z0-9]{{{LENGTH}}}")
PREFIX_LENGTH = len(MARK) + 6
DAY_S = 86_400
CHOICES_DAYS = (7, 30, 90, 365)
NAME_LENGTH = 64
MOST_OF_A_USER = 20

SEEN_EVERY_S = 600
"""A token's last use is written no more often; a script asks each second."""

REFUSED_EVERY_S = 600.0
"""The same wrong token from the same address is one try: a forgotten script guesses nothing, and
must not keep everybody at its address from logging in."""

EXPIRED_KEPT_S = 30 * DAY_S
MOST_REMEMBERED = 4096


class ApiTokens:
    """The tokens of one store."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        key: bytes,
        wrong_token: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; ``wrong_token`` counts a try from an address and may refuse any further one.

        ``clock`` gives UTC epoch seconds.
        """
        self._settings = settings
        self._store = store
        self._key = hmac.digest(key, b"api tokens", "sha256")
        self._wrong_token = wrong_token
        self._clock = clock
        self._monotonic = monotonic
        self._written: dict[int, float] = {}
        self._refused: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def choices(self) -> tuple[int, ...]:
        """Give for how many days tokens may be made; nothing where the settings allow none."""
        most = self._settings.api_token_days_max
        fit = tuple(days for days in CHOICES_DAYS if days <= most)
        return fit or ((most,) if most else ())

    def make(self, user: User, name: str, scope: str, days: int) -> tuple[ApiToken, str]:
        """Make a token; the second value is the token itself, which nobody can be told again.

        Raises:
            BadInput: name, scope or number of days is not allowed.
            NotPermitted: only admins may have one that does what admins may.
            Conflict: the user has as many as one may have.
        """
        name = _check_name(name)
        if scope not in SCOPES:
            raise BadInput(f"scope: one of {', '.join(SCOPES)}", reason="field", field="scope")
        if not 1 <= days <= self._settings.api_token_days_max:
            raise BadInput("days: not so many", reason="field", field="days")
        if scope == "admin" and not user.is_admin:
            raise NotPermitted("only admins may do this", reason="admins_only")
        token = MARK + "".join(secrets.choice(_LETTERS) for _ in range(LENGTH))
        hashed, prefix, now = self._hash(token), token[:PREFIX_LENGTH], self._clock()

        def work(t: Tables) -> ApiToken | None:
            t.api_tokens.remove_expired(user.id, now - EXPIRED_KEPT_S)
            if len(t.api_tokens.of_user(user.id)) >= MOST_OF_A_USER:
                raise Conflict(
                    f"a user has at most {MOST_OF_A_USER} tokens",
                    reason="tokens_most",
                    most=MOST_OF_A_USER,
                )
            ends_at = now + days * DAY_S
            made = t.api_tokens.add(user.id, hashed, prefix, name, scope, now, ends_at)
            detail = f"{prefix}… scope={scope} days={days} name={name}"
            t.audit.add(self._entry(user.username, "token_made", user.username, detail))
            return t.api_tokens.get(made)

        return _found(self._store.write(work)), token

    def of_user(self, user: User) -> list[ApiToken]:
        """List a user's tokens, the newest first; expired ones for some weeks more."""
        return self._store.read(lambda t: t.api_tokens.of_user(user.id))

    def all(self) -> list[ApiToken]:
        """List everybody's."""
        return self._store.read(lambda t: t.api_tokens.all())

    def ends_at(self, token: ApiToken) -> float:
        """Say until when a token is good: what it was made for, but never more than is allowed."""
        allowed = self._settings.api_token_days_max * DAY_S
        return min(token.expires_at, token.created_at + allowed)

    def revoke(self, actor: User, token_id: int) -> None:
        """End a token at once.

        Raises:
            NotFound: there is none, or it is somebody else's and ``actor`` no admin.
        """

        def work(t: Tables) -> None:
            token = _found(t.api_tokens.get(token_id))
            if token.user_id != actor.id and not actor.is_admin:
                raise NotFound("there is no such token", reason="token")
            t.api_tokens.remove(token_id)
            detail = f"{token.prefix}… scope={token.scope} name={token.name}"
            t.audit.add(self._entry(actor.username, "token_revoked", token.username, detail))

        self._store.write(work)

    def find(self, given: str, address: str) -> Bearer:
        """Say who sends a token, and note its use now and then.

        Raises:
            NotAuthenticated: it is none, has expired or was revoked, or its owner is disabled.
            TooManyAttempts: too many wrong ones came from this address.
        """
        hashed = self._hash(given)
        known = _FORM.fullmatch(given) is not None
        found = self._store.read(lambda t: t.api_tokens.find(hashed)) if known else None
        if found is None or self._clock() >= self.ends_at(found.token):
            self._refuse(hashed, address, found)
            raise NotAuthenticated("this token is not valid", reason="token")
        self._seen(found, address)
        return found

    def _refuse(self, hashed: str, address: str, found: Bearer | None) -> None:
        """Count and note a wrong token, but the same one only once in a while."""
        now = self._monotonic()
        with self._lock:
            last = self._refused.get((hashed, address))
            if last is not None and now - last < REFUSED_EVERY_S:
                return
        self._wrong_token(address)
        with self._lock:
            if len(self._refused) >= MOST_REMEMBERED:
                self._refused.clear()
            self._refused[hashed, address] = now
        name = found.user.username if found else ""
        detail = f"{found.token.prefix}… expired" if found else "unknown"
        entry = self._entry(name, "token_refused", name, detail, address)
        self._store.write(lambda t: t.audit.add(entry))

    def _seen(self, found: Bearer, address: str) -> None:
        now, token = self._clock(), found.token
        with self._lock:
            # An earlier time than what is written: the clock was set back.
            if 0 <= now - self._written.get(token.id, token.used_at or 0.0) < SEEN_EVERY_S:
                return
            if len(self._written) >= MOST_REMEMBERED:
                self._written.clear()
            self._written[token.id] = now

        def work(t: Tables) -> None:
            before = t.api_tokens.get(token.id)
            t.api_tokens.note_use(token.id, now, address)
            if before is not None and before.used_at is None:
                name = token.username
                t.audit.add(self._entry(name, "token_used", name, f"{token.prefix}…", address))

        try:
            self._store.write(work)
        except StoreFailed:
            # A full disk must not keep a script from reading.
            return

    def _hash(self, token: str) -> str:
        return hmac.new(self._key, token.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def _entry(
        self, actor: str, action: str, subject: str, detail: str, address: str = ""
    ) -> AuditEntry:
        return AuditEntry(self._clock(), actor, action, subject, detail, address)


def _check_name(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable():
        raise BadInput(
            f"a token's name has 1 to {NAME_LENGTH} characters on one line",
            reason="token_name",
            field="name",
            most=NAME_LENGTH,
        )
    return name


def _found(token: ApiToken | None) -> ApiToken:
    if token is None:
        raise NotFound("there is no such token", reason="token")
    return token
