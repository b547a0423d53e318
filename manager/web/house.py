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
from manager.web.house_cards import Card as Card
from manager.web.house_cards import Sampler

OnChange = Callable[[frozenset[int], frozenset[int]], None]
"""Called with the ports and the user ids that changed; must return at once."""


class Accounts(Protocol):
    """Users, passwords and sessions."""

    def login(self, username: str, password: str, address: str, /) -> tuple[User, str]:
        """Check name and password and begin a session."""

    def who(self, sid: str, /) -> User | None:
        """Say whose session this is."""

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


class Lifecycle(Protocol):
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


class Reading(Protocol):
    """What the watch saw last on a port."""

    @property
    def stage(self) -> str:
        """How far a start or an end got."""

    @property
    def running(self) -> int | None:
        """Jobs being worked on."""

    @property
    def pending(self) -> int | None:
        """Jobs waiting."""

    @property
    def idle_seconds(self) -> float:
        """Seconds without work."""

    @property
    def idle_left(self) -> float | None:
        """Seconds until the instance is ended for want of work."""

    @property
    def responding(self) -> bool:
        """Whether the last question was answered."""

    @property
    def hung_since(self) -> float | None:
        """Since when it has been silent, once that is called a hang."""


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


class Watch(Protocol):
    """The loop that looks at every instance each second."""

    def reading(self, port: int, /) -> Reading | None:
        """Give what was seen last; None when nothing was."""


class Gate(Protocol):
    """Caddy and what it serves."""

    def watch(self) -> GateHealth:
        """Say how Caddy is; cheap."""


class LoadReading(Protocol):
    """How busy the machine is. Sizes in bytes."""

    @property
    def cpu_percent(self) -> float:
        """All cores together, 0 to 100."""

    @property
    def memory_percent(self) -> float:
        """Share in use."""

    @property
    def memory_used(self) -> int:
        """In use."""

    @property
    def memory_total(self) -> int:
        """Installed."""

    @property
    def disk_percent(self) -> float:
        """Share in use of the data folder's disk."""

    @property
    def disk_free(self) -> int:
        """Free on the data folder's disk."""


class Load(Protocol):
    """The machine's load."""

    def latest(self) -> LoadReading | None:
        """Give the newest reading."""


class Manager(Protocol):
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

    def on_change(self, callback: OnChange, /) -> None:
        """Ask to be told of changes."""
