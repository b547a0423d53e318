"""The record of use. Seconds are whole and rounded down."""

from __future__ import annotations

from typing import Literal

from manager.web.answers import Answer


class Total(Answer):
    """What a user, a day or a card (``key``) comes to; ``share`` is work in percent."""

    key: str
    sessions: int
    held_seconds: int
    worked_seconds: int
    idle_seconds: int
    unknown_seconds: int
    prompts: int
    waited: int
    waited_median: int | None
    share: int | None


class Sitting(Answer):
    """One session of use; ``ended_at`` is null while it lasts."""

    username: str
    port: int
    card: int
    started_at: float
    ended_at: float | None
    end_reason: str | None
    waited_seconds: int | None
    held_seconds: int
    worked_seconds: int
    idle_seconds: int
    unknown_seconds: int
    prompts: int


class OwnUsage(Answer):
    """One's own use: today, since Monday, and the newest sessions."""

    today: Total
    week: Total
    sessions: list[Sitting]


class Usage(Answer):
    """Everybody's use in a period, by user, day or card."""

    period: Literal["today", "7d", "30d", "all"]
    by: Literal["user", "day", "card"]
    totals: list[Total]
    sessions: list[Sitting]
