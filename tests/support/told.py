"""What a page knows of what it was told: the whole once, then differences, put together again.

The same as ``static/js/lib/live.js`` does, so that a test may ask for whole states.
"""

from __future__ import annotations

from typing import Any

from manager.web.differences import KEYED
from manager.web.live import (
    OVERVIEW_DIFF_EVENT,
    OVERVIEW_EVENT,
    STATE_DIFF_EVENT,
    STATE_EVENT,
)

Json = dict[str, Any]

DIFFERENCES = {STATE_EVENT: STATE_DIFF_EVENT, OVERVIEW_EVENT: OVERVIEW_DIFF_EVENT}
"""By the event that tells the whole."""


def merge(whole: Json, difference: Json) -> Json:
    """Give what a page knows after a difference."""
    told = dict(whole)
    for name, value in difference.items():
        before = whole[name]
        if isinstance(value, dict) and isinstance(before, dict):
            told[name] = before | value
        elif name in KEYED and isinstance(value, list) and isinstance(before, list):
            changed = {one[KEYED[name]]: one for one in value}
            told[name] = [one | changed.get(one[KEYED[name]], {}) for one in before]
        else:
            told[name] = value
    return told


class Mirror:
    """One view, as a page keeps it."""

    def __init__(self, event: str) -> None:
        """Begin with nothing; ``event`` tells the whole."""
        self.event = event
        self.whole: Json | None = None

    def hear(self, event: str, content: Json) -> Json | None:
        """Give the whole after an event; None if that is not about this view."""
        if event == self.event:
            self.whole = content
        elif event == DIFFERENCES[self.event]:
            assert self.whole is not None
            assert content["sequence"] == self.whole["sequence"] + 1, "a page would have a gap"
            self.whole = merge(self.whole, content)
        else:
            return None
        return self.whole
