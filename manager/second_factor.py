"""Second factors: a code of the owner's phone beside his password, and recovery codes for its loss.

Set up, taken off and asked for here; ``accounts`` opens the login. Each code is taken once. The
secret that phone and manager share is not stored: it is worked out of a seed in the database and
the manager's key. Recovery codes are stored by keyed hashes. Neither is ever in a log.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from manager import one_time_codes as codes
from manager.doorkeeper import Doorkeeper
from manager.errors import BadInput, CodeRequired, Conflict, NotAuthenticated, NotFound
from manager.factor_records import SecondFactor, Setup
from manager.records import AuditEntry, User
from manager.short_memory import ShortMemory
from manager.store import Store, Tables

HALF_WAY_S: Final = 300.0
"""How long somebody who has given his password has for the code."""

SETUP_S: Final = 900.0
"""How long a secret that is shown waits for its first code."""


@dataclass(frozen=True)
class HalfWay:
    """Somebody who knew the password; ``stored`` is its hash, so that it dies with it."""

    user_id: int
    stored: str = field(repr=False)


@dataclass(frozen=True)
class Draft:
    """A second factor that its owner has not confirmed yet."""

    user_id: int
    seed: str = field(repr=False)


class SecondFactors:
    """The second factors of one store."""

    def __init__(
        self,
        store: Store,
        door: Doorkeeper,
        key: bytes,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind; ``clock`` gives UTC epoch seconds. To an empty key nothing that is stored fits."""
        self._store = store
        self._door = door
        own = key or secrets.token_bytes(32)
        self._key = hmac.digest(own, b"second factors", "sha256")
        self._clock = clock
        self._half_way: ShortMemory[HalfWay] = ShortMemory(HALF_WAY_S, monotonic)
        self._drafts: ShortMemory[Draft] = ShortMemory(SETUP_S, monotonic)

    # At the login.

    def ask(self, user: User, stored: str) -> CodeRequired:
        """Give what sends somebody whose password was right on to the code."""
        ticket = secrets.token_urlsafe(32)
        self._half_way.put(ticket, HalfWay(user.id, stored))
        return CodeRequired("a code is asked for", ticket=ticket)

    def is_half_way(self, ticket: str) -> bool:
        """Tell whether a ticket still takes a code, as far as its time goes."""
        return self._half_way.get(ticket) is not None

    def answer(self, ticket: str, given: str, address: str) -> User:
        """Take the code of a phone, or a recovery code; give whose login may be opened, once.

        Raises:
            NotAuthenticated: the code is wrong; or (``code_late``) the time is over, or what the
                ticket was given for has changed.
            TooManyAttempts: too many tries of this account or from this address.
            Conflict: the manager has another key than at the setup.
        """
        user = self._owner(ticket)
        self._door.code_attempt(user.username, address, digits=codes.code_in(given) is not None)
        if not self._spent(user, given, address):
            self._door.code_wrong(address)
            self._note(user.username, "login_failed", user.username, "code", address)
            raise NotAuthenticated("this code is not right", reason="code")
        if self._half_way.take(ticket) is None:
            raise _late()
        self._door.code_right(user.username, address)
        return user

    def _owner(self, ticket: str) -> User:
        half = self._half_way.get(ticket)
        if half is None:
            raise _late()
        user = self._store.read(lambda t: t.users.get(half.user_id))
        stored = self._store.read(lambda t: t.users.password_hash(half.user_id))
        if not (user and user.is_active and user.second_factor and stored == half.stored):
            self._half_way.take(ticket)
            raise _late()
        return user

    # By its owner.

    def begin(self, user: User, password: str, session_id: str) -> None:
        """Make a secret for a login to set up; nothing is in force before ``confirm``.

        Raises:
            NotAuthenticated: the password is wrong.
            TooManyAttempts: too many wrong ones.
            Conflict: he has a second factor.
        """
        if user.second_factor:
            raise Conflict("the second factor is on already", reason="second_factor_on")
        self._door.confirm(user, password)
        self._drafts.put(session_id, Draft(user.id, codes.new_seed()))

    def setup(self, user: User, session_id: str) -> Setup | None:
        """Give what a login has begun to set up and its phone is to be told."""
        draft = self._drafts.get(session_id)
        if draft is None or draft.user_id != user.id or user.second_factor:
            return None
        secret = codes.secret_of(self._key, draft.seed)
        return Setup(secret, codes.uri_of(secret, user.username))

    def cancel(self, session_id: str) -> None:
        """Forget what a login has begun to set up."""
        self._drafts.take(session_id)

    def confirm(self, user: User, given: str, session_id: str) -> list[str]:
        """Put into force what was begun, by a first code; the user's other logins end.

        Returns:
            The recovery codes, which nobody can be told again.

        Raises:
            BadInput: the code is not right, perhaps for a wrong clock.
            NotFound: nothing was begun, or too long ago.
            Conflict: he has a second factor by now.
        """
        draft, told = self._drafts.get(session_id), self.setup(user, session_id)
        if draft is None or told is None:
            raise NotFound("nothing is being set up, or no longer", reason="second_factor_setup")
        step = self._first_step(told.secret, given)
        made, now = codes.new_recovery_codes(), self._clock()

        def work(t: Tables) -> None:
            if t.second_factors.get(user.id) is not None:
                raise Conflict("the second factor is on already", reason="second_factor_on")
            mark = codes.mark_of(self._key)
            t.second_factors.add(SecondFactor(user.id, draft.seed, mark, now, step))
            t.second_factors.put_recovery_codes(user.id, self._hashes(user.id, made))
            # They were opened by a password alone.
            t.sessions.remove_of(user.id, keep=session_id)
            t.audit.add(self._entry(user.username, "second_factor_on", user.username))

        self._store.write(work)
        self._drafts.take(session_id)
        return made

    def _first_step(self, secret: str, given: str) -> int:
        code, now = codes.code_in(given), self._clock()
        step = codes.step_of(secret, code, now, -1) if code else None
        if step is not None:
            return step
        off = codes.minutes_off(secret, code, now) if code else None
        if off is not None:
            raise BadInput(
                f"this code is of another time: the clocks differ by about {off} min",
                reason="code_clock",
                minutes=off,
            )
        raise BadInput("this code is not right", reason="code")

    def turn_off(self, user: User, password: str, given: str) -> None:
        """Take the second factor off, by password and code.

        Raises:
            NotAuthenticated: one of them is wrong.
            TooManyAttempts: too many wrong ones.
            Conflict: the manager has another key than at the setup.
        """
        self._confirm(user, password, given)

        def work(t: Tables) -> None:
            t.second_factors.remove(user.id)
            t.audit.add(self._entry(user.username, "second_factor_off", user.username))

        self._store.write(work)

    def renew(self, user: User, password: str, given: str) -> list[str]:
        """Give new recovery codes, by password and code; those of before are worth nothing.

        Raises:
            As ``turn_off``.
        """
        self._confirm(user, password, given)
        made = codes.new_recovery_codes()

        def work(t: Tables) -> None:
            t.second_factors.put_recovery_codes(user.id, self._hashes(user.id, made))
            t.audit.add(self._entry(user.username, "recovery_codes_made", user.username))

        self._store.write(work)
        return made

    def status(self, user: User) -> tuple[float, int] | None:
        """Say since when a user has one and how many recovery codes are left; None without one."""
        found = self._store.read(lambda t: t.second_factors.get(user.id))
        left = self._store.read(lambda t: t.second_factors.recovery_codes_left(user.id))
        return (found.since, left) if found else None

    # By others.

    def reset(self, actor: User, user_id: int) -> User:
        """Take somebody's second factor off, who has lost phone and recovery codes.

        Raises:
            NotFound: there is no such account.
            Conflict: it has none, or is the actor's own, which takes its password and a code.
        """

        def work(t: Tables) -> User:
            user = t.users.get(user_id)
            if user is None:
                raise NotFound("there is no such user", reason="user")
            if actor.id == user_id:
                raise Conflict("you cannot take this from yourself", reason="yourself")
            if not t.second_factors.remove(user_id):
                raise Conflict("this account has no second factor", reason="second_factor_none")
            t.audit.add(self._entry(actor.username, "second_factor_reset", user.username))
            return t.users.get(user_id) or user

        return self._store.write(work)

    # Codes.

    def _confirm(self, user: User, password: str, given: str) -> None:
        self._door.confirm(user, password)
        digits = codes.code_in(given) is not None
        self._door.confirm_code(user, lambda: self._spent(user, given, ""), digits=digits)

    def _spent(self, user: User, given: str, address: str) -> bool:
        """Use a code up, if it is right; two at once cannot use the same one."""
        code, now = codes.code_in(given), self._clock()
        hashed = codes.hash_of_recovery(self._key, user.id, given)

        def work(t: Tables) -> bool:
            factor = t.second_factors.get(user.id)
            if factor is None:
                return False
            if factor.key_mark != codes.mark_of(self._key):
                raise Conflict("set up under another key", reason="second_factor_key")
            if code is not None:
                secret = codes.secret_of(self._key, factor.seed)
                step = codes.step_of(secret, code, now, factor.last_step)
                if step is not None:
                    t.second_factors.note_step(user.id, step)
                return step is not None
            if not t.second_factors.take_recovery_code(user.id, hashed):
                return False
            left = f"left={t.second_factors.recovery_codes_left(user.id)}"
            entry = self._entry(user.username, "recovery_code_used", user.username, left, address)
            t.audit.add(entry)
            return True

        return self._store.write(work)

    def _hashes(self, user_id: int, made: list[str]) -> list[str]:
        return [codes.hash_of_recovery(self._key, user_id, one) for one in made]

    def _note(self, *words: str) -> None:
        entry = self._entry(*words)
        self._store.write(lambda t: t.audit.add(entry))

    def _entry(
        self, actor: str, action: str, subject: str, detail: str = "", address: str = ""
    ) -> AuditEntry:
        return AuditEntry(self._clock(), actor, action, subject, detail, address)


def _late() -> NotAuthenticated:
    return NotAuthenticated("log in again", reason="code_late")
