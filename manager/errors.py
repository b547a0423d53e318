"""Every error this application raises on purpose.

ManagerError
├── SettingsError            a setting is unknown or its value is not allowed; no start
├── Refused                  the person who asked may read why
│   ├── BadInput             the request cannot be understood
│   ├── NotAuthenticated     nobody is logged in, or name and password do not match
│   │   └── CodeRequired     they do, and a code is wanted besides; ``ticket`` takes it
│   ├── PasswordChangeRequired
│   ├── SecondFactorRequired an admin must set one up first
│   ├── NotPermitted
│   ├── NotFound
│   ├── Conflict             the name is taken, the last admin would go, ...
│   ├── NoFreeCard           every port the user may use is held
│   ├── LimitReached         what the user is allowed is used up
│   ├── AlreadyRunning       the user holds an instance already
│   ├── NotRunning           there is nothing to stop
│   ├── Unavailable          a service elsewhere that this needs does not answer
│   └── TooManyAttempts      throttled; ``retry_after`` seconds to wait
└── Fault                    the operator's business; the person gets a general text and an id
    ├── StoreFailed          disk full or read-only, file not writable, newer schema
    ├── LostRace             a row was not in the state the caller had read
    ├── IllegalTransition    a state and an event that the table does not know
    ├── LaunchFailed         a process could not be started
    ├── EngineSilent         nobody can tell whether an engine took a launch; it is asked again
    ├── WorkspaceFailed      a user's directory cannot be made or written
    ├── GateFailed           Caddy refused a configuration or does not run
    └── AlreadyServing       another manager holds this data directory

Each class has a stable ``code`` that pages, scripts and translations key on; ``params`` fill
the translated sentence. Only ``web/errors.py`` knows which HTTP number belongs to which class.
"""

from __future__ import annotations

import errno
from typing import ClassVar


class ManagerError(Exception):
    """The root. ``code`` names the kind, ``params`` the details, ``str()`` says it in English."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, reason: str | None = None, **params: object) -> None:
        """Keep the English sentence, an optional finer ``reason`` and the details.

        ``reason`` selects a more exact translation than ``code`` alone, such as
        ``conflict.username_taken``.
        """
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.params = params

    @property
    def key(self) -> str:
        """The translation key: ``code`` or ``code.reason``."""
        return f"{self.code}.{self.reason}" if self.reason else self.code


DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})
"""What is a disk's fault and no setting's: full, over quota, read-only, broken, a share is gone."""


class SettingsError(ManagerError):
    """A setting is unknown, or its value is not allowed."""

    code = "bad_setting"


class Refused(ManagerError):
    """The request is refused for a reason its sender may read."""

    code = "refused"


class BadInput(Refused):
    """The request cannot be understood."""

    code = "bad_input"


class NotAuthenticated(Refused):
    """Nobody is logged in, or name and password do not match."""

    code = "not_authenticated"


class CodeRequired(NotAuthenticated):
    """Name and password match; the account is opened by ``ticket`` and a code alone."""

    code = "code_required"

    def __init__(self, message: str, *, ticket: str) -> None:
        """Keep the ticket, which only the browser is given; it is in no sentence."""
        super().__init__(message)
        self.ticket = ticket


class PasswordChangeRequired(Refused):
    """The account must set its own password before anything else."""

    code = "password_change_required"


class SecondFactorRequired(Refused):
    """The account must set a second factor up before anything else."""

    code = "second_factor_required"


class NotPermitted(Refused):
    """The account has no right to this."""

    code = "not_permitted"


class NotFound(Refused):
    """There is no such thing, or it is not the caller's."""

    code = "not_found"


class Conflict(Refused):
    """The change contradicts what is there."""

    code = "conflict"


class NoFreeCard(Refused):
    """Every port the user may use is held."""

    code = "no_free_card"


class LimitReached(Refused):
    """What the user is allowed is used up, or he may start nothing for now."""

    code = "limit_reached"


class AlreadyRunning(Refused):
    """The user holds an instance already."""

    code = "already_running"


class NotRunning(Refused):
    """There is nothing to stop."""

    code = "not_running"


class Unavailable(Refused):
    """A service elsewhere that this needs does not answer."""

    code = "unavailable"


class TooManyAttempts(Refused):
    """Throttled. ``retry_after`` is the honest waiting time in whole seconds."""

    code = "too_many_attempts"

    def __init__(self, message: str, *, retry_after: int) -> None:
        """Keep the waiting time both as an attribute and for the translated sentence."""
        super().__init__(message, retry_after=retry_after)
        self.retry_after = retry_after


class Fault(ManagerError):
    """Something the operator has to look at."""

    code = "fault"


class StoreFailed(Fault):
    """SQLite refused, or the disk did."""

    code = "store_failed"


class LostRace(Fault):
    """A row was not in the state the caller had read; read again."""

    code = "lost_race"


class IllegalTransition(Fault):
    """The state table does not know this pair of state and event."""

    code = "illegal_transition"


class LaunchFailed(Fault):
    """A process could not be started."""

    code = "launch_failed"


class EngineSilent(Fault):
    """An engine of a cluster did not say whether it took a launch; it has to be asked again."""

    code = "engine_silent"


class WorkspaceFailed(Fault):
    """A user's directory cannot be made or written."""

    code = "workspace_failed"


class GateFailed(Fault):
    """Caddy refused a configuration or does not run."""

    code = "gate_failed"


class AlreadyServing(Fault):
    """Another manager holds this data directory."""

    code = "already_serving"
