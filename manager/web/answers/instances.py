"""Instances and accounts, as their owners and admins see them."""

from __future__ import annotations

from typing import Literal

from manager.web.answers import Answer

StateName = Literal["idle", "starting", "running", "stopping", "failed"]


class Account(Answer):
    """An account. ``assigned_port`` null: any free card.

    ``second_factor``: it is asked for a code of a phone at its logins, too.
    """

    id: int
    username: str
    is_admin: bool
    is_active: bool
    assigned_port: int | None
    must_change_password: bool
    second_factor: bool
    created_at: float


class Work(Answer):
    """How far running work is; see docs/architecture.md.

    ``told`` is false where this ComfyUI cannot say more than that it works. ``still_minutes`` is
    null unless nothing has moved for long.
    """

    told: bool
    node: str
    step: int
    steps: int
    percent: int | None
    finished: int
    nodes: int
    prompt: int
    prompts: int
    seconds: int
    still_minutes: int | None


class TimeLeft(Answer):
    """How long an instance may still go on by its limits, in seconds."""

    seconds: int
    limit: Literal["day", "session"]
    soon: bool
    over: bool
    open_for: int | None
    shut: bool


class Restart(Answer):
    """A restart after a crash that waits, or why (``over``) none will come."""

    seconds: int
    attempt: int
    most: int
    over: Literal["given_up", "taken"] | None


class Fault(Answer):
    """Why something ended badly."""

    fault_kind: str | None
    fault_line: str | None
    exit_code: int | None
    signal: str | None


class Instance(Fault):
    """What stands on a port, without its secrets.

    ``idle_left`` seconds are left until it is ended for want of work, ``idle_by`` says what holds
    it, ``idle_unknown`` lists signs of use that cannot tell now. ``running`` and ``pending`` are
    jobs of its queue. ``node`` is the machine it is on, null for the manager's own, ``any`` until
    its engine has chosen one.
    """

    port: int
    external_port: int
    workspace_port: int
    card: int
    node: str | None
    card_label: str
    kind: str
    state: StateName
    stage: str | None
    actions: list[str]
    username: str | None
    running: int | None
    pending: int | None
    idle_seconds: int | None
    idle_left: int | None
    idle_timeout: int
    idle_by: str
    idle_warns: bool
    idle_unknown: list[str]
    awake_until: float | None
    responding: bool | None
    hung_since: float | None
    progress: Work | None
    time: TimeLeft | None
    started_at: float | None
    ready_at: float | None
    stop_reason: str | None
    fault: str | None
    restart: Restart | None


class Extension(Answer):
    """What one more extension adds in seconds, how many are left, and whether others wait."""

    seconds: int
    left: int
    waits: bool


class Announcements(Answer):
    """For how many seconds work may be announced."""

    choices: list[int]


class UsualStart(Answer):
    """What most of ``count`` starts took, the user's ``own`` or everybody's.

    ``low`` and ``high`` are seconds or minutes, as ``form`` says; ``median`` and ``late_after`` are
    seconds.
    """

    low: int
    high: int
    median: float
    count: int
    own: bool
    form: Literal["seconds", "minutes", "up_to_seconds", "up_to_minutes"]
    late_after: int


class Start(Answer):
    """How long a start has taken and may take, in seconds; ``usual`` null: nobody knows."""

    elapsed: int
    limit: int
    usual: UsualStart | None


class OwnInstance(Instance):
    """An instance as its owner sees it, with the links that open it: keep them like passwords."""

    extend: Extension | None
    awake: Announcements | None
    start: Start | None
    workspace_url: str | None
    external_url: str | None


class InstanceOnly(Answer):
    """What stands on the port now."""

    instance: Instance


class AccountOnly(Answer):
    """The account as it is now."""

    user: Account
