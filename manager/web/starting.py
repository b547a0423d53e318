"""How a start goes on: what it has taken so far, and what starts usually take."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from manager.records import Instance
from manager.start_times import Usual
from manager.states import State
from manager.web.house import Manager

MINUTE_S = 60
BY_SECONDS_UP_TO = 120
"""From here on an estimate is in minutes."""


def start_view(manager: Manager, instance: Instance) -> dict[str, Any] | None:
    """Show how long a start has taken, in whole seconds, and what is usual; None for no start."""
    if instance.state is not State.STARTING or instance.launch_id is None:
        return None
    began = instance.started_at or time.time()
    usual = manager.lifecycle.book.usual_start(instance.launch_id, instance.user_id or 0)
    limit = manager.settings.start_timeout
    return {
        # By a clock that may have been set since: never less than nothing, nor more than may be.
        "elapsed": min(max(0, int(time.time() - began)), limit),
        "limit": limit,
        "usual": None if usual is None else usual_view(usual),
    }


def usual_view(usual: Usual) -> dict[str, Any]:
    """Show an estimate: ``low`` and ``high`` in the unit of its sentence, named by ``form``."""
    unit = "seconds" if usual.high <= BY_SECONDS_UP_TO else "minutes"
    by = 1 if unit == "seconds" else MINUTE_S
    return {
        **dataclasses.asdict(usual),
        "low": usual.low // by,
        "high": usual.high // by,
        "form": unit if usual.low else f"up_to_{unit}",
        "late_after": usual.high,
    }
