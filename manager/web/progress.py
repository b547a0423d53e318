"""How far running work is, as its owner and admins see it."""

from __future__ import annotations

import time
from typing import Any

from manager.records import Instance
from manager.states import State
from manager.web.house import Manager, Reading

STILL_AFTER_S = 300.0
"""Without anything new, before it is said; one node of a large picture takes minutes."""


def progress_view(
    manager: Manager, instance: Instance, reading: Reading | None, *, own: bool = False
) -> dict[str, Any] | None:
    """Show the work on a port; None while there is none, or nothing is known yet.

    ``told`` is false where this ComfyUI cannot say more than that it works. ``node`` is what people
    call the node: to its owner by the title he gave it, to admins by its kind alone. ``prompt`` of
    ``prompts`` counts since the work began; ``still_minutes`` is None unless nothing has changed
    for long.
    """
    if instance.state is not State.RUNNING or reading is None or not reading.running:
        return None
    progress = manager.follower.progress(instance.port)
    if progress is None or progress.launch_id != instance.launch_id:
        return None
    still = time.monotonic() - progress.progressed_at
    return {
        "told": progress.told,
        "node": (own and progress.title) or progress.class_type,
        "step": progress.step,
        "steps": progress.steps,
        "percent": progress.percent,
        "finished": min(progress.finished, progress.nodes),
        "nodes": progress.nodes,
        "prompt": progress.prompt,
        "prompts": progress.prompt + (reading.pending or 0),
        "seconds": int(progress.seconds),
        "still_minutes": int(still // 60) if progress.told and still >= STILL_AFTER_S else None,
    }
