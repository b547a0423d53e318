"""Announcements and the switch of maintenance, in memory."""

from __future__ import annotations

import dataclasses

from manager.errors import NotFound
from manager.notices import Announcement, Maintenance
from manager.records import User

NOW = 1_790_000_000.0


class Announcements:
    """What is told, and who has put it away."""

    def __init__(self) -> None:
        self.told: dict[int, Announcement] = {}
        self.away: set[tuple[int, int]] = set()

    def all(self) -> list[Announcement]:
        return list(self.told.values())

    def of_user(self, user_id: int) -> list[Announcement]:
        return [one for one in self.told.values() if (one.id, user_id) not in self.away]

    def make(
        self, level: str, text_en: str, text_zh: str, until: float | None, *, by: User
    ) -> None:
        number = 1 + max(self.told, default=0)
        self.told[number] = Announcement(number, level, text_en, text_zh, by.username, NOW, until)

    def end(self, number: int, *, by: User) -> None:
        if self.told.pop(number, None) is None:
            raise NotFound("no", reason="announcement")

    def put_away(self, number: int, user: User) -> None:
        if number not in self.told:
            raise NotFound("no", reason="announcement")
        self.away.add((number, user.id))


class Switch:
    """Whether anything is started."""

    def __init__(self) -> None:
        self.one: Maintenance | None = None

    def now(self) -> Maintenance | None:
        return self.one

    def begin(self, reason: str, until: float | None, *, by: User) -> Maintenance:
        begun = Maintenance(by.username, NOW, until, reason)
        self.one = dataclasses.replace(begun, begun_at=self.one.begun_at if self.one else NOW)
        return self.one

    def end(self, *, by: User) -> None:
        if self.one is None:
            raise NotFound("no", reason="maintenance")
        self.one = None
