"""Prompts that a launch left unfinished: kept, offered at the next start, and sent again if wanted.

The prompts lie in a file in the user's own folder, the database knows how many and how far they
are. Each is sent at most once: that it goes is written before it goes, and sending is taken by a
compare-and-swap. What an interrupted sending has not begun is offered again.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from manager import kept_files, prompts
from manager.comfyui import ComfyUI
from manager.errors import ManagerError, NotFound, NotRunning
from manager.lifecycle.moves import Moves
from manager.prompts import MOST_BYTES, Prompt
from manager.records import AuditEntry, Instance, Unfinished, User
from manager.runtime import offload
from manager.settings import Settings
from manager.states import State
from manager.store import Store, Tables

logger = logging.getLogger(__name__)

KEPT_LAUNCHES = 5
"""Of one user whose prompts are kept; the oldest goes, but rather one that was sent again."""

LATER_S = 0.001
"""Between the times of two launches of which the clock says the second was earlier."""

LISTED = 100
"""Prompts that are shown of one launch."""

HISTORY = "history.jsonl"

Spawn = Callable[[Callable[[], None]], None]


def in_thread(work: Callable[[], None]) -> None:
    """Run ``work`` beside everything else."""
    threading.Thread(target=work, name="prompts", daemon=True).start()


def _summaries(folder: Path, one: Unfinished) -> list[dict[str, Any]]:
    """Read what is offered of a launch; graphs are long, so this is to be offloaded."""
    lines = kept_files.read(folder, file_of(one.launch_id), MOST_BYTES) or []
    found = map(prompts.summary_of, lines[one.sent : one.sent + LISTED])
    return [one for one in found if one is not None]


def file_of(launch_id: str) -> str:
    """Name the file of a launch's prompts."""
    return f"unfinished-{launch_id}.jsonl"


def _after(before: Sequence[Unfinished], now: float) -> float:
    """Give a time that is later than those of before, though the clock was set back since."""
    return max([now, *(one.saved_at + LATER_S for one in before)])


def _too_many(before: Sequence[Unfinished]) -> list[Unfinished]:
    """Say which of a user's go for a new one: those that were sent first, then the oldest."""
    spare = len(before) + 1 - KEPT_LAUNCHES
    mine = [one for one in before if one.state != "sending"]
    return sorted(mine, key=lambda one: one.state != "sent")[: max(0, spare)]


class Keeper:
    """Keeps prompts for the users of one manager."""

    def __init__(self, settings: Settings, store: Store, moves: Moves, comfyui: ComfyUI) -> None:
        """Bind; ``spawn`` may be replaced."""
        self._settings = settings
        self._store = store
        self._moves = moves
        self._comfyui = comfyui
        self.spawn: Spawn = in_thread

    def load(self) -> None:
        """Take up what an earlier manager was sending when it ended."""
        self._store.write(lambda t: t.unfinished.settle())

    def keep(self, row: Instance, found: Sequence[Prompt], left_out: int) -> None:
        """Keep a launch's prompts, in order; nothing where there are none.

        Raises:
            OSError: the file cannot be written.
            StoreFailed: nor can it be noted.
        """
        folder, launch_id = self._folder(row.user_id or 0), row.launch_id or ""
        if folder is None or not found:
            return
        offload(kept_files.write, folder, file_of(launch_id), (one.line() for one in found))
        now = self._moves.clock()
        one = Unfinished(launch_id, row.user_id or 0, now, len(found), left_out)

        def work(t: Tables) -> list[Unfinished]:
            before = [
                old for old in t.unfinished.of_user(one.user_id) if old.launch_id != launch_id
            ]
            t.unfinished.add(replace(one, saved_at=_after(before, now)))
            gone = _too_many(before)
            for old in gone:
                t.unfinished.remove(old.launch_id)
            return gone

        for gone in self._store.write(work):
            offload(kept_files.remove, folder, file_of(gone.launch_id))
        logger.info("端口 %d: %d prompts of %s are kept", row.port, len(found), row.username)
        # It may come late, after all else of the end was told.
        self._moves.publish(frozenset(), frozenset({one.user_id}))

    def keep_history(self, row: Instance, lines: Sequence[bytes]) -> None:
        """Keep what has finished last, in the place of what was kept before.

        Raises:
            OSError: the file cannot be written.
        """
        folder = self._folder(row.user_id or 0)
        if folder is not None and lines:
            offload(kept_files.write, folder, HISTORY, list(lines))

    def of_user(self, user_id: int) -> Sequence[Unfinished]:
        """List what is kept for a user, the oldest first."""
        return self._store.read(lambda t: t.unfinished.of_user(user_id))

    def listing(self, user_id: int) -> list[dict[str, Any]]:
        """Say in short what is offered to a user, in the order in which it would be sent."""
        folder = self._folder(user_id)
        found: list[dict[str, Any]] = []
        for one in self.of_user(user_id):
            if folder is not None and one.state == "offered":
                found += offload(_summaries, folder, one)
        return found[:LISTED]

    def send(self, user: User) -> None:
        """Begin to send a user's kept prompts to his ComfyUI; returns at once.

        Raises:
            NotRunning: none of his runs.
            NotFound: nothing is offered; somebody, or another page, was faster.
        """

        def work(t: Tables) -> tuple[Instance, list[Unfinished]]:
            row = t.ports.of_user(user.id)
            if row is None or row.state is not State.RUNNING:
                raise NotRunning("your ComfyUI is not running", reason="grant")
            mine = t.unfinished.claim(user.id)
            if not mine:
                raise NotFound("nothing is offered", reason="unfinished")
            count = sum(one.prompts - one.sent for one in mine)
            self._audit(t, user, "prompts_restore", f"port {row.port} {user.username}", count)
            return row, mine

        row, mine = self._store.write(work)
        self.spawn(lambda: self._send_all(row, mine))

    def drop(self, user: User) -> None:
        """Forget what is offered to a user, and how the last sending went."""

        def work(t: Tables) -> list[Unfinished]:
            mine = [one for one in t.unfinished.of_user(user.id) if one.state != "sending"]
            for one in mine:
                t.unfinished.remove(one.launch_id)
            count = sum(one.prompts - one.sent for one in mine)
            if count:
                self._audit(t, user, "prompts_drop", user.username, count)
            return mine

        folder = self._folder(user.id)
        for one in self._store.write(work):
            if folder is not None:
                offload(kept_files.remove, folder, file_of(one.launch_id))
        self._moves.publish(frozenset(), frozenset({user.id}))

    def _send_all(self, row: Instance, mine: Sequence[Unfinished]) -> None:
        try:
            answers = True
            for one in mine:
                if answers:
                    answers = self._send(row, one)
                self._store.write(lambda t, one=one: t.unfinished.settle(one.launch_id))  # type: ignore[misc]
        except ManagerError as error:
            logger.error("端口 %d: prompts cannot be sent again: %s", row.port, error)  # noqa: TRY400
        self._moves.tell(row.port, row.user_id or 0)

    def _send(self, row: Instance, one: Unfinished) -> bool:
        """Send a launch's prompts; tell whether all were answered."""
        folder, launch_id = self._folder(one.user_id), one.launch_id
        lines = folder and offload(kept_files.read, folder, file_of(launch_id), MOST_BYTES)
        if not folder or not lines:
            why = "the file they were kept in cannot be read"
            self._store.write(lambda t: t.unfinished.unreadable(launch_id, why))
            return True
        for place in range(one.sent, one.prompts):
            self._store.write(lambda t, sent=place + 1: t.unfinished.begin(launch_id, sent))  # type: ignore[misc]
            if not self._send_one(row, launch_id, lines[place] if place < len(lines) else b""):
                return False
        offload(kept_files.remove, folder, file_of(launch_id))
        return True

    def _send_one(self, row: Instance, launch_id: str, line: bytes) -> bool:
        order = prompts.order_of(line)
        refusal: str | None = "it was not kept as it was"
        if order is not None:
            answer = self._comfyui.send(row.address, row.secret, order)
            # Without its secret it is another instance by now.
            if answer is None or answer[0] == HTTPStatus.FORBIDDEN:
                return False
            accepted = answer[0] == HTTPStatus.OK
            refusal = None if accepted else prompts.refusal_of(*answer)
        self._store.write(
            lambda t: t.unfinished.answered(launch_id, accepted=refusal is None, refusal=refusal)
        )
        return True

    def _folder(self, user_id: int) -> Path | None:
        user = self._store.read(lambda t: t.users.get(user_id))
        if user is None or user.workspace is None:
            return None
        return self._settings.data_dir / "workspaces" / user.workspace

    def _audit(self, t: Tables, user: User, action: str, subject: str, count: int) -> None:
        detail = f"{count} prompts"
        t.audit.add(AuditEntry(self._moves.clock(), user.username, action, subject, detail))
