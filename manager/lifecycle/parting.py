"""What is done with an instance that still answers, before it is told to end.

Its queue and what it finished last are kept for its user, and it is asked to give its memory back.
All of that within seconds: an instance that does not answer loses its queue, never its stop. What
was read but cannot be written, on a full disk, is held in memory and tried again meanwhile.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from manager import prompts
from manager.comfyui import ComfyUI
from manager.errors import ManagerError
from manager.lifecycle.unfinished import Keeper
from manager.prompts import MOST_PROMPTS, Prompt
from manager.records import Instance

logger = logging.getLogger(__name__)

PARTING_S = 4.0
"""How long all of it may hold up a stop at most."""

AGAIN_S = 1.0
"""Between two attempts to write a queue."""

TRIES = 900
"""Attempts, beside the first; then it is given up."""

NOT_ANSWERING = frozenset({"hung", "died", "launch_failed", "overdue"})
"""Reasons to stop for which nothing need be asked."""


class Parting:
    """The partings of one manager."""

    def __init__(
        self, keeper: Keeper, comfyui: ComfyUI, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Bind."""
        self._keeper = keeper
        self._comfyui = comfyui
        self._monotonic = monotonic
        self._begun: dict[str, float] = {}
        self._done: set[str] = set()

    def over(self, row: Instance) -> bool:
        """Tell whether a row that is to stop may be told to end; the first question begins it."""
        launch_id = row.launch_id or ""
        if row.ready_at is None or row.stop_reason in NOT_ANSWERING:
            return True
        if launch_id not in self._begun:
            self._begun[launch_id] = self._monotonic()
            self._keeper.spawn(lambda: self._part(row))
        late = self._monotonic() - self._begun[launch_id] >= PARTING_S
        return late or launch_id in self._done

    def died(self, row: Instance) -> None:
        """Keep what was last seen in the queue of one that is gone without a parting."""
        launch_id = row.launch_id or ""
        last = self._comfyui.last_queue(row.address)
        if launch_id in self._begun or last is None:
            return
        self._begun[launch_id] = self._monotonic()
        self._keeper.spawn(lambda: self._keep(row, last))

    def forget(self, launch_id: str) -> None:
        """Drop what is kept of a launch that has ended."""
        self._begun.pop(launch_id, None)
        self._done.discard(launch_id)

    def _part(self, row: Instance) -> None:
        whole = self._comfyui.whole_queue(row.address, row.secret)
        self._keep(row, whole or self._comfyui.last_queue(row.address))
        if whole is not None:
            self._keep_history(row)
            self._comfyui.free(row.address, row.secret)
        if row.launch_id in self._begun:
            self._done.add(row.launch_id)

    def _keep(self, row: Instance, queue: bytes | None) -> None:
        try:
            found = read_queue(queue or b"{}")
        except (ValueError, RecursionError) as error:
            logger.warning("端口 %d: its queue cannot be kept: %s", row.port, error)
            return
        if not self._written(row, found):
            # The stop does not wait for this: a full disk may stay full.
            self._keeper.spawn(lambda: self._keep_later(row, found))

    def _keep_later(self, row: Instance, found: list[Prompt]) -> None:
        for _ in range(TRIES):
            time.sleep(AGAIN_S)
            if self._written(row, found):
                return
        logger.error("端口 %d: %d prompts of %s are lost", row.port, len(found), row.username)

    def _written(self, row: Instance, found: list[Prompt]) -> bool:
        """Write a queue down; tell whether nothing is left to be done."""
        most = found[:MOST_PROMPTS]
        try:
            self._keeper.keep(row, most, len(found) - len(most))
        except (ManagerError, OSError) as error:
            logger.warning("端口 %d: its queue cannot be kept yet: %s", row.port, error)
            return False
        return True

    def _keep_history(self, row: Instance) -> None:
        history = self._comfyui.newest(row.address, row.secret)
        try:
            lines = []
            for prompt_id, entry in prompts.members((history or b"{}").decode()):
                lines.append(prompts.finished_line(prompt_id, entry))
                time.sleep(0)
            self._keeper.keep_history(row, [line for line in lines if line is not None])
        except (OSError, ManagerError, ValueError, RecursionError) as error:
            logger.warning("端口 %d: its history cannot be kept: %s", row.port, error)


def read_queue(body: bytes) -> list[Prompt]:
    """Read the prompts of a queue, in their order.

    Raises:
        ValueError: it is no queue.
        RecursionError: a graph is nested too deep.
    """
    found = []
    for name, item in prompts.members(body.decode()):
        one = prompts.prompt_of(name, item)
        if one is not None:
            found.append(one)
        # Each may take milliseconds; others are to run in between.
        time.sleep(0)
    return prompts.in_order(found)
