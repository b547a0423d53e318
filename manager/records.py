"""The records that leave the store. No row, cursor or connection goes further than ``store/``.

``*_at`` are UTC epoch seconds; formatting is the page's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from manager.addresses import Address as Address
from manager.states import State

GUARD_HEADER = "X-ComfyUI-Manager-Secret"
"""In which Caddy and the watch show an instance its secret."""

PROGRESS_PATH = "/comfyui-multi-user-manager/progress"
"""Where an instance's guard says how far the work is; see ``launcher/guard.py``."""


@dataclass(frozen=True)
class Node:
    """A machine that instances run on, as its launcher finds it.

    ``level`` is the isolation in force, ``landlock`` the ABI of its kernel (0: none), ``layers``
    the ways in which a tree is ended, ``refused`` why each higher level cannot be had, by level,
    and ``root`` whether launches are begun by root.
    """

    name: str
    level: str
    landlock: int
    layers: tuple[str, ...]
    refused: Mapping[str, str]
    root: bool


@dataclass(frozen=True)
class User:
    """An account. ``assigned_port`` None means any free card."""

    id: int
    username: str
    is_admin: bool
    assigned_port: int | None
    is_active: bool
    must_change_password: bool
    created_at: float
    workspace: str | None
    """Name of the user's folder below ``workspaces/``; None until the first start."""
    second_factor: bool = False
    """Whether he is asked for a code of his phone, too."""
    must_set_second_factor: bool = False
    """An admin who may do nothing before he has one; never stored, see ``accounts.at``."""
    by_provider: bool = False
    """Whether this login came by the word of a provider, who asks for what he likes."""

    @property
    def is_held_up(self) -> bool:
        """Tell whether something must be set before anything else works."""
        return self.must_change_password or self.must_set_second_factor


OPERATOR = User(0, "command line", True, None, True, False, 0.0, None)
"""Who acts through the operator's commands. No account can have this name, for the space in it."""


@dataclass(frozen=True)
class Instance:
    """A port's row of ``port_status``: who holds it, in which state, and what the gate needs.

    ``user_id``, ``username`` and ``launch_id`` are None unless the state holds the port, except
    that a failed row keeps ``launch_id`` and ``fault`` for the admin. ``token`` goes to the owner's
    page and the Caddyfile, ``secret`` to the instance, the Caddyfile and the watch; neither ever to
    a log or another user, and neither is in the ``repr``.
    """

    port: int
    state: State
    user_id: int | None
    username: str | None
    process_id: int | None
    launch_id: str | None
    token: str | None = field(repr=False)
    started_at: float | None
    ready_at: float | None
    deadline_at: float | None
    stop_reason: str | None
    fault: str | None
    idle_count: int
    """Seconds without work, as last written; the watch knows the exact number."""
    fault_kind: str | None = None
    fault_line: str | None = None
    exit_code: int | None = None

    secret: str | None = field(default=None, repr=False)
    """What the instance asks for; None for one that an earlier version started without a guard."""

    address: Address | None = None
    """Where it answers; None until it has answered."""


@dataclass(frozen=True)
class Usage:
    """One session of use: who had which port and card, from when to when, and why it ended.

    ``end_reason`` is one of ``user``, ``admin``, ``idle``, ``time_limit``, ``overdue``, ``died``,
    ``hung``, ``launch_failed``, ``shutdown``; None while it lasts. ``fault`` holds what an unhappy
    end printed; ``fault_kind`` is one of ``lifecycle.reasons.KINDS``, ``fault_line`` the line that
    matters, ``exit_code`` negative for a signal. ``automatic``: the manager began it, after a
    crash.
    """

    launch_id: str
    user_id: int
    username: str
    port: int
    card: int
    started_at: float
    ready_at: float | None
    ended_at: float | None
    end_reason: str | None
    fault: str | None
    fault_kind: str | None = None
    fault_line: str | None = None
    exit_code: int | None = None
    automatic: bool = False
    waited_seconds: float | None = None
    """In line before the start; None when that was not noted yet."""

    evidence: str | None = None
    """What an end for idleness rests on, as JSON."""


@dataclass(frozen=True)
class Unfinished:
    """Prompts that were running or waiting when a launch ended; a row of ``unfinished``.

    ``left_out`` more were too many to be kept. ``state`` is ``offered``, ``sending`` or ``sent``.
    ``sent`` counts those that were begun to be sent again, ``accepted`` and ``refused`` what
    ComfyUI said; ``refusal`` is what it said of the first it refused.
    """

    launch_id: str
    user_id: int
    saved_at: float
    prompts: int
    left_out: int = 0
    state: str = "offered"
    sent: int = 0
    accepted: int = 0
    refused: int = 0
    refusal: str | None = None


@dataclass(frozen=True)
class Restart:
    """A restart after a crash that waits ``seconds`` more: the ``attempt``-th of ``most``.

    ``over`` is None while it waits; else why it will not come: ``given_up`` after too many, or
    ``taken``, somebody else has the port by now.
    """

    user_id: int
    port: int
    seconds: float
    attempt: int
    most: int
    over: str | None = None


@dataclass(frozen=True)
class Waiting:
    """Somebody in the waiting line; a smaller ``id`` came earlier.

    ``assigned_port`` is the account's own, None for any. ``offered_port`` is kept for him until
    ``claim_until``. With ``missed_at`` he is out of the line: he did not come in time.
    """

    id: int
    user_id: int
    username: str
    assigned_port: int | None
    joined_at: float
    offered_port: int | None = None
    claim_until: float | None = None
    missed_at: float | None = None
    priority: str = "normal"
    served_at: float | None = None
    """When the user's last session that got ready ended."""

    def may_use(self, port: int) -> bool:
        """Tell whether a port would do."""
        return self.assigned_port in (None, port)


@dataclass(frozen=True)
class Leftover:
    """A launch that lives but belongs to no row; what is None was not noted or cannot be read."""

    launch_id: str
    user_id: int | None
    username: str | None
    port: int | None
    card: int | None
    pid: int | None
    since: float | None


@dataclass(frozen=True)
class Quarantined:
    """A port that is not given out because its card was not proven free after ``launch_id``."""

    port: int
    card: int
    launch_id: str
    since: float
    reason: str
    address: Address | None = None
    """Where the launch answered; None when it never had a place."""


@dataclass(frozen=True)
class AuditEntry:
    """One line of the audit: who did what to whom or what. Never holds a secret."""

    at: float
    actor: str
    action: str
    subject: str
    detail: str = ""
    address: str = ""


@dataclass(frozen=True)
class OwnSession:
    """A login as its owner sees it. ``handle`` names it and opens nothing.

    ``seen_at`` is its last visit, to some minutes; None before the first that was noted.
    """

    handle: str
    created_at: float
    seen_at: float | None
    address: str
    user_agent: str
    is_this: bool
    by_provider: bool = False


@dataclass(frozen=True)
class Session:
    """A login. The browser's cookie carries the id; the table only its SHA-256."""

    user: User
    created_at: float
    expires_at: float
