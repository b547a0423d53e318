"""Waiting by condition, with a monotonic deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

STEP_S = 0.02


def wait_until(condition: Callable[[], T], timeout_s: float = 20, what: str = "condition") -> T:
    """Call ``condition`` until it is true and give its value; at the deadline fail, saying what."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(STEP_S)
