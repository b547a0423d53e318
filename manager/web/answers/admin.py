"""What admins are told."""

from __future__ import annotations

from typing import Literal

from manager.web.answers import Answer
from manager.web.answers.cluster import Cluster
from manager.web.answers.instances import Account
from manager.web.answers.notices import Service
from manager.web.answers.ports import Port
from manager.web.answers.user import Estimate

Priority = Literal["low", "normal", "high"]


class ListedAccount(Account):
    """An account; ``disk_total`` are the bytes of its folders, null before they were counted.

    ``disk_limit``: what they may take, in bytes; 0 is no limit.
    """

    disk_total: int | None
    disk_limit: int


class Load(Answer):
    """How busy the machine is, in percent and bytes."""

    cpu_percent: int
    memory_percent: int
    memory_used: int
    memory_total: int
    disk_percent: int
    disk_free: int
    slowdown: int


class Gate(Answer):
    """How Caddy is."""

    running: bool
    version: str
    problem: str | None


class Leftover(Answer):
    """A launch that lives but belongs to no port."""

    launch_id: str
    user_id: int | None
    username: str | None
    port: int | None
    card: int | None
    pid: int | None
    since: float | None
    ending: bool


class Quarantined(Answer):
    """A port that is held back; ``clear``: its reason has gone by now."""

    port: int
    card: int
    since: float
    reason: str
    clear: bool


class FailingWebhook(Answer):
    """A webhook that does not take what it is told; ``problem`` is a word or a number."""

    name: str
    kind: str
    since: float
    problem: str


class Card(Answer):
    """A card as its driver's tool sees it; null is not known."""

    card: int
    node: str | None
    measured: bool
    looked: bool
    name: str
    health: str
    utilisation: int | None
    memory_used: int | None
    memory_total: int | None
    temperature: int | None
    power: int | None
    unknown: str
    outside: str
    given: bool
    sick: str
    nobodys: bool
    idle: int | None


class Waiting(Answer):
    """Somebody in the line; ``estimate`` null: nobody knows."""

    user_id: int
    username: str
    assigned_port: int | None
    joined_at: float
    offered_port: int | None
    priority: Priority
    estimate: Estimate | None


class InForce(Answer):
    """What is in force for a user; 0 is no limit. ``disk_limit`` in MiB."""

    priority: Priority
    sessions_at_once: int
    day_limit: int
    session_limit: int
    disk_limit: int


class Limits(Answer):
    """What is set for one user (null: nothing is) and what is in force.

    Times in seconds, ``disk_limit`` in MiB.
    """

    user_id: int
    priority: Priority
    sessions_at_once: int | None
    day_limit: int | None
    session_limit: int | None
    disk_limit: int | None
    in_force: InForce


class Reservation(Answer):
    """A port kept for some users; without any it is out of use."""

    port: int
    user_ids: list[int]
    usernames: list[str]
    until: float | None
    reserved_by: str
    reserved_at: float
    reason: str


class Overview(Answer):
    """Everything the admins' page shows, without a link into anybody's workspace."""

    ports: list[Port]
    users: list[ListedAccount]
    load: Load | None
    gate: Gate
    leftovers: list[Leftover]
    quarantine: list[Quarantined]
    webhooks: list[FailingWebhook]
    cards: list[Card]
    line: list[Waiting]
    limits: list[Limits]
    reservations: list[Reservation]
    service: Service
    cluster: Cluster | None
    sequence: int


class UserDeleted(Answer):
    """Which account is gone."""

    deleted: int


class GivenPassword(Answer):
    """The password that was made; it is shown this once."""

    password: str


class LeftoversOnly(Answer):
    """What lives without a port now."""

    leftovers: list[Leftover]


class LineOnly(Answer):
    """The line now."""

    line: list[Waiting]


class QuarantineOnly(Answer):
    """What is held back now."""

    quarantine: list[Quarantined]


class LimitsOnly(Answer):
    """All users' limits now."""

    limits: list[Limits]


class ReservationsOnly(Answer):
    """What is reserved now."""

    reservations: list[Reservation]


class Finding(Answer):
    """What the examination found in one place."""

    check: str
    level: str
    level_text: str
    title: str
    text: str


class Examination(Answer):
    """The last examination; ``at`` null before the first."""

    running: bool
    at: float | None
    level: str
    failed: str
    findings: list[Finding]


class Series(Answer):
    """The lowest, mean and highest of a value in each span."""

    low: list[float | None]
    mean: list[float | None]
    high: list[float | None]


class CardHistory(Answer):
    """A card's history in equal spans, which begin at ``at``."""

    card: int
    period: str
    span_seconds: int
    at: list[int]
    memory_total: int | None
    health: list[str | None]
    memory_used: Series
    utilisation: Series
    temperature: Series
    power: Series


class AuditLine(Answer):
    """A line of the audit."""

    id: int
    at: float
    actor: str
    action: str
    subject: str
    detail: str
    address: str
    hash: str


class AuditLines(Answer):
    """A page of the audit, newest first."""

    lines: list[AuditLine]


class AuditCheck(Answer):
    """Whether the audit is whole: ``broken`` is the first line that does not fit, else null."""

    lines: int
    head: str
    broken: int | None
