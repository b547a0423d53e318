"""What admins tell everybody on every page: made, ended, and put away by who has read it.

Plain text; pages write it as text, so nothing in it is markup.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from manager.errors import BadInput, Conflict, NotFound
from manager.notices import LEVELS, Announcement
from manager.records import AuditEntry, User
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

LONGEST_TEXT = 500
MOST = 5
"""More at once, and nobody reads any."""

_JOINERS = "\u200c\u200d"
"""Invisible, but parts of letters and of emoji. Other invisible signs may turn a text around."""


class Announcements:
    """The announcements of one store."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        """Bind; ``clock`` gives UTC epoch seconds."""
        self._store = store
        self._clock = clock

    def all(self) -> Sequence[Announcement]:
        """List what is in force, warnings first, then the newest."""
        return self._store.read(lambda t: t.announcements.in_force(self._clock()))

    def of_user(self, user_id: int) -> Sequence[Announcement]:
        """List what a user is to see: what he has put away is left out."""

        def work(t: Tables) -> list[Announcement]:
            found = t.announcements.in_force(self._clock())
            away = t.announcements.put_away_by(user_id) if found else frozenset()
            return [one for one in found if one.id not in away]

        return self._store.read(work)

    def make(
        self, level: str, text_en: str, text_zh: str, until: float | None, *, by: User
    ) -> None:
        """Tell everybody something.

        Args:
            level: one of ``LEVELS``.
            text_en: the text in English, or nothing.
            text_zh: the text in Chinese, or nothing; one of the two is enough.
            until: UTC epoch seconds; None until it is ended.
            by: the admin.

        Raises:
            BadInput: there is no text, one is too long or not plain, or ``until`` has passed.
            Conflict: there are as many as people can read.
        """
        now = self._clock()
        if level not in LEVELS:
            raise BadInput(f"level: one of {', '.join(LEVELS)}", reason="field", field="level")
        if until is not None and until <= now:
            raise BadInput("this time has passed", reason="until")
        made = Announcement(0, level, _plain(text_en), _plain(text_zh), by.username, now, until)
        if not made.text_en and not made.text_zh:
            raise BadInput("an announcement has a text", reason="announcement", most=LONGEST_TEXT)

        def work(t: Tables) -> None:
            t.announcements.remove_over(now)
            if len(t.announcements.in_force(now)) >= MOST:
                raise Conflict(
                    f"there are {MOST} announcements already; end one first",
                    reason="announcements",
                    most=MOST,
                )
            t.announcements.add(made)
            t.audit.add(self._entry("announcement_made", made, by))

        self._store.write(work)
        logger.info("announcement (%s) by %s", level, by.username)

    def end(self, number: int, *, by: User) -> None:
        """Take one back.

        Raises:
            NotFound: there is none with this id.
        """

        def work(t: Tables) -> None:
            one = _found(t, number)
            t.announcements.remove(number)
            t.audit.add(self._entry("announcement_ended", one, by))

        self._store.write(work)

    def put_away(self, number: int, user: User) -> None:
        """Show a notice to its reader no more.

        Raises:
            NotFound: there is none with this id.
            Conflict: it is a warning, which stays.
        """

        def work(t: Tables) -> None:
            if _found(t, number).level != LEVELS[0]:
                raise Conflict("a warning stays until it is over", reason="warning_stays")
            t.announcements.put_away(number, user.id)

        self._store.write(work)

    def _entry(self, action: str, one: Announcement, by: User) -> AuditEntry:
        text = " / ".join(filter(None, (one.text_en, one.text_zh))).replace("\n", " ")
        return AuditEntry(self._clock(), by.username, action, one.level, text)


def _found(t: Tables, number: int) -> Announcement:
    one = t.announcements.get(number)
    if one is None:
        raise NotFound("there is no such announcement", reason="announcement")
    return one


def _plain(text: str) -> str:
    text = text.replace("\r\n", "\n").strip()
    plain = all(sign.isprintable() or sign in f"\n{_JOINERS}" for sign in text)
    if len(text) > LONGEST_TEXT or not plain:
        raise BadInput(
            f"an announcement is plain text of at most {LONGEST_TEXT} characters",
            reason="announcement",
            most=LONGEST_TEXT,
        )
    return text
