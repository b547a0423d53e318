"""What admins say to everybody, as it leaves the store: announcements, and maintenance.

``*_at`` and ``until`` are UTC epoch seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("notice", "warning")
"""How loud an announcement is; only the first can be put away by its reader."""


@dataclass(frozen=True)
class Announcement:
    """Plain text in one language or in both; one of the two may be empty.

    ``until`` None: until an admin ends it. ``id`` 0: not stored yet.
    """

    id: int
    level: str
    text_en: str
    text_zh: str
    made_by: str
    made_at: float
    until: float | None = None


@dataclass(frozen=True)
class Maintenance:
    """Since when nothing is started, and what users are told of it.

    ``until`` is what is planned; it ends nothing by itself.
    """

    begun_by: str
    begun_at: float
    until: float | None = None
    reason: str = ""
