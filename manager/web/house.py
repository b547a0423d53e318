"""What the pages ask of the rooms below, as protocols.

``web`` is handed one object with these parts by ``bootstrap`` and knows nothing of how they are
built; the tests hand in small stand-ins with the same shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from manager.accounts import Unchanged
from manager.records import Instance, Leftover, Node, Quarantined, Restart, Usage, User
from manager.settings import Settings
from manager.web.house_audit import WithAudit
from manager.web.house_cards import Card as Card
from manager.web.house_cards import Remembered, Sampler
from manager.web.house_care import WithCare
from manager.web.house_cluster import WithCluster
from manager.web.house_disk import WithDisk
from manager.web.house_idle import Grants, Kept
from manager.web.house_idle import Reading as Reading
from manager.web.house_line import Line, WithLineHistory
from manager.web.house_measures import Load, Measures
from manager.web.house_notices import WithAnnouncements, WithSwitch
from manager.web.house_people import WithPeople
from manager.web.house_progress import Followed
from manager.web.house_rules import Rules
from manager.web.house_second_factor import WithSecondFactor
from manager.web.house_sessions import WithOwnSessions
from manager.web.house_sign_ins import WithSignIns
from manager.web.house_tokens import WithApiTokens
from manager.web.house_usage import Book

OnChange = Callable[[frozenset[int], frozenset[int]], None]
"""Called with the ports and the user ids that changed; must return at once."""


class FirstAdmin(Protocol):
    """The first account."""

    def is_known(self) -> bool:
        """Tell whether the printed password opens it."""


class Accounts(WithOwnSessions, WithPeople, WithSecondFactor, WithSignIns, Protocol):
    """Users, passwords and sessions."""

    def login(self, username: str, password: str, address: str, /, *named: str) -> tuple[User, str]:
        """Check name and password and begin a session; ``named``: what proxies say of where."""

    @property
    def first_admin(self) -> FirstAdmin:
        """The first account, until it has a password of its own."""

    def who(self, sid: str, address: str | None = None, /) -> User | None:
        """Say whose session this is, with the rights of a visitor at that address."""

    def at(self, user: User, address: str, /) -> User:
        """Give a user with the rights of a visitor at that address."""

    def logout(self, sid: str, /) -> None:
        """End one session."""

    def change_password(self, user: User, old: str, new: str, /, *, keep_sid: str) -> None:
        """Set a new password and end the user's other sessions."""

    def users(self) -> Sequence[User]:
        """List all accounts."""

    def user(self, user_id: int, /) -> User:
        """Give one account."""

    def create_user(
        self,
        actor: User,
        username: str,
        password: str,
        /,
        *,
        is_admin: bool = ...,
        assigned_port: int | None = ...,
    ) -> User:
        """Make an account."""

    def delete_user(self, actor: User, user_id: int, /) -> None:
        """Remove an account."""

    def reset_password(self, actor: User, user_id: int, /) -> str:
        """Set a generated password and give it, this once."""

    def update_user(
        self,
        actor: User,
        user_id: int,
        /,
        *,
        is_active: bool | None = ...,
        is_admin: bool | None = ...,
        assigned_port: int | Unchanged | None = ...,
    ) -> User:
        """Change an account; what is left out stays."""


class Leftovers(Protocol):
    """Launches that live but belong to no row."""

    def all(self) -> Sequence[Leftover]:
        """List them."""

    def is_ending(self, launch_id: str, /) -> bool:
        """Tell whether one is being ended."""

    def stop(self, launch_id: str, /, *, by: User) -> None:
        """Begin to end one."""


class Quarantine(Protocol):
    """Ports held back until an admin has looked."""

    def all(self) -> Sequence[tuple[Quarantined, bool]]:
        """List them, each with whether its reason has gone by now."""

    def release(self, port: int, /, *, by: User) -> None:
        """Give one free."""


class Lifecycle(Rules, WithSwitch, Protocol):
    """Starting, stopping and looking at instances."""

    def start(self, user: User, /) -> Instance:
        """Begin an instance; returns at once."""

    def stop(self, port: int, /, *, by: User, reason: str) -> Instance:
        """Begin the end of an instance; returns at once."""

    def of_user(self, user_id: int, /) -> Instance | None:
        """Give the instance that a user holds."""

    @property
    def unavailable(self) -> Mapping[int, str]:
        """Give the ports that are not given out now, and why."""

    @property
    def line(self) -> Line:
        """Who waits for a port."""

    @property
    def book(self) -> Book:
        """What sessions were used for."""

    @property
    def grants(self) -> Grants:
        """What users have asked for against the idle limit."""

    @property
    def unfinished(self) -> Kept:
        """Prompts of earlier sessions."""

    @property
    def leftovers(self) -> Leftovers:
        """What lives without a row."""

    @property
    def quarantine(self) -> Quarantine:
        """What is held back."""

    def nodes(self) -> Sequence[Node]:
        """List the machines that instances run on."""

    def instance(self, port: int, /) -> Instance:
        """Give a port's row."""

    def instances(self) -> Sequence[Instance]:
        """Give every port's row, idle ones too."""

    def restart_of(self, user_id: int, /) -> Restart | None:
        """Give the restart that waits for a user, or why none will come."""

    def restart_on(self, port: int, /) -> Restart | None:
        """Give the restart that waits for a port."""

    def cancel_restart(self, user_id: int, /) -> bool:
        """Forget a user's waiting restart."""

    def last_usage(self, user_id: int, /) -> Usage | None:
        """Give a user's newest session of use."""

    def log_tail(self, launch_id: str, max_bytes: int, /) -> str:
        """Give the end of what an instance printed."""


class GateHealth(Protocol):
    """How Caddy is."""

    @property
    def running(self) -> bool:
        """Whether it runs."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def problem(self) -> str | None:
        """What is wrong, in English."""

    @property
    def certificate_until(self) -> float | None:
        """When the operator's certificate ends, in UTC epoch seconds; None without one."""


class Watch(Protocol):
    """The loop that looks at every instance each second."""

    def reading(self, port: int, /) -> Reading | None:
        """Give what was seen last; None when nothing was."""


class Gate(Protocol):
    """Caddy and what it serves."""

    def watch(self) -> GateHealth:
        """Say how Caddy is; cheap."""


class Manager(
    Followed,
    Remembered,
    WithAnnouncements,
    WithApiTokens,
    WithAudit,
    WithCare,
    WithCluster,
    WithLineHistory,
    WithDisk,
    Protocol,
):
    """All rooms, built."""

    @property
    def settings(self) -> Settings:
        """The settings in force."""

    @property
    def accounts(self) -> Accounts:
        """Users and sessions."""

    @property
    def lifecycle(self) -> Lifecycle:
        """Instances."""

    @property
    def watch(self) -> Watch:
        """Readings."""

    @property
    def gate(self) -> Gate:
        """Caddy."""

    @property
    def load(self) -> Load:
        """The machine."""

    @property
    def cards(self) -> Sequence[Card]:
        """The accelerators."""

    @property
    def sampler(self) -> Sampler:
        """How the accelerators are."""

    @property
    def secret_key(self) -> bytes:
        """What signs cookies."""

    @property
    def measures(self) -> Measures:
        """What is counted for Prometheus."""

    @property
    def metrics_token(self) -> str:
        """What Prometheus shows; never empty."""

    def on_change(self, callback: OnChange, /) -> None:
        """Ask to be told of changes."""
