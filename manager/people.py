"""Acts on many accounts at once, each all or nothing: in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from manager import credentials
from manager.credentials import check_password, check_username
from manager.errors import BadInput, Conflict, NotFound
from manager.records import AuditEntry, User
from manager.settings import Settings
from manager.store import Store, Tables


@dataclass(frozen=True)
class Newcomer:
    """Somebody who is to have an account. ``assigned_port`` None: any free card.

    ``password`` None: one is made for him.
    """

    username: str
    password: str | None = None
    is_admin: bool = False
    assigned_port: int | None = None
    is_active: bool = True


@dataclass(frozen=True)
class Added:
    """A new account, and its password where that was made here: it is kept nowhere else."""

    user: User
    password: str | None


class People:
    """All accounts of one store."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], float]) -> None:
        """Bind; ``clock`` gives UTC epoch seconds."""
        self._settings = settings
        self._store = store
        self._clock = clock

    def create(self, actor: User, newcomers: Sequence[Newcomer]) -> list[Added]:
        """Add accounts, whose passwords must be changed at the first login.

        A password that is given takes the time of a slow hash, off the green loop and one after
        the other, so that logins find a place beside them.

        Raises:
            BadInput: a name, password or port is not allowed.
            Conflict: a name is taken. Nobody is added then.
        """
        names = [check_username(one.username) for one in newcomers]
        for name, one in zip(names, newcomers, strict=True):
            if one.password is not None:
                check_password(name, one.password, self._settings.external_ip)
            check_port(self._settings, one.assigned_port)
        made = [credentials.new_password() if n.password is None else None for n in newcomers]
        hashes = [
            credentials.hash_password(one.password)
            if one.password is not None
            else credentials.hash_made(password or "")
            for one, password in zip(newcomers, made, strict=True)
        ]

        def work(t: Tables) -> list[User]:
            taken = {user.username.casefold() for user in t.users.all()}
            return [
                self._add(t, actor, taken, name, one, hashed)
                for name, one, hashed in zip(names, newcomers, hashes, strict=True)
            ]

        return [Added(*pair) for pair in zip(self._store.write(work), made, strict=True)]

    def _add(
        self, t: Tables, actor: User, taken: set[str], name: str, one: Newcomer, hashed: str
    ) -> User:
        # ``Bob`` and ``bob`` would be one person to people.
        if name.casefold() in taken:
            raise Conflict(f"the name {name} is taken", reason="username_taken", username=name)
        taken.add(name.casefold())
        user_id = t.users.insert(
            name,
            hashed,
            is_admin=one.is_admin,
            assigned_port=one.assigned_port,
            must_change_password=True,
        )
        if not one.is_active:
            t.users.set_rights(
                user_id, is_admin=one.is_admin, is_active=False, assigned_port=one.assigned_port
            )
        detail = "" if one.is_active else "active=False"
        t.audit.add(AuditEntry(self._clock(), actor.username, "user_created", name, detail))
        return found(t.users.get(user_id))

    def set_active(self, actor: User, user_ids: Collection[int], *, active: bool) -> list[User]:
        """Disable or enable accounts; who is disabled loses his sessions and his place in line.

        Returns:
            Those that were changed; who is so already is left alone.

        Raises:
            NotFound: there is no such account.
            Conflict: the last admin would go, or the actor himself. Nobody is changed then.
        """

        def work(t: Tables) -> list[User]:
            changed = []
            for user_id in sorted(set(user_ids)):
                user = found(t.users.get(user_id))
                if user.is_active == active:
                    continue
                if user_id == actor.id:
                    raise Conflict("you cannot take this from yourself", reason="yourself")
                t.users.set_rights(
                    user_id,
                    is_admin=user.is_admin,
                    is_active=active,
                    assigned_port=user.assigned_port,
                )
                port = user.assigned_port or "any"
                detail = f"active={active} admin={user.is_admin} port={port}"
                if not active:
                    detail += t.end_logins(user_id)
                    t.line.remove(user_id)
                entry = AuditEntry(
                    self._clock(), actor.username, "user_changed", user.username, detail
                )
                t.audit.add(entry)
                changed.append(found(t.users.get(user_id)))
            keep_an_admin(t)
            return changed

        return self._store.write(work)

    def last_logins(self) -> Mapping[int, float]:
        """Say when each account's user logged in last, by id; who never did is left out."""
        return self._store.read_long(lambda t: t.users.last_logins())


def check_port(settings: Settings, port: int | None) -> None:
    """Refuse a port that the table does not have.

    Raises:
        BadInput: says which there are.
    """
    ports = [row.port for row in settings.ports]
    if port is not None and port not in ports:
        listed = ", ".join(str(p) for p in ports)
        raise BadInput(f"there is no port {port}; there are {listed}", reason="port", ports=listed)


def found(user: User | None) -> User:
    """Give an account that must be there.

    Raises:
        NotFound: it is not.
    """
    if user is None:
        raise NotFound("there is no such user", reason="user")
    return user


def keep_an_admin(t: Tables) -> None:
    """Refuse what leaves no admin who can log in.

    Raises:
        Conflict: none is left.
    """
    if not t.users.active_admins():
        raise Conflict("the last admin must stay", reason="last_admin")
