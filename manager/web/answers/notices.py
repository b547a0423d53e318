"""What is said to everybody, as its readers and admins see it."""

from __future__ import annotations

from typing import Literal

from manager.web.answers import Answer


class Texts(Answer):
    """A text in both languages; one of them may be empty."""

    en: str
    zh: str


class Announcement(Answer):
    """What is told to everybody; ``until`` null: until an admin ends it."""

    id: int
    level: Literal["notice", "warning"]
    text: Texts
    until: float | None
    can_put_away: bool


class Maintenance(Answer):
    """Nothing is started; ``until`` is what is planned and ends nothing by itself."""

    reason: str
    until: float | None


class Notices(Answer):
    """What everybody is told, but for what the user has put away."""

    maintenance: Maintenance | None
    announcements: list[Announcement]


class AnnouncementMade(Announcement):
    """An announcement, and whose it is."""

    made_by: str
    made_at: float


class MaintenanceBegun(Maintenance):
    """Maintenance, and whose it is."""

    begun_by: str
    begun_at: float


class Service(Answer):
    """What everybody is told, by whom, and how far the house has run empty.

    ``left`` counts instances and launches without a row, ``at_work`` those seen with work.
    """

    maintenance: MaintenanceBegun | None
    left: int
    at_work: int
    announcements: list[AnnouncementMade]


class ServiceOnly(Answer):
    """What everybody is told now."""

    service: Service
