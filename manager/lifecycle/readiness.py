"""When an instance may get a gate: it answers, is the one that was started, and has its guard.

The order matters. Nobody is asked anything but the holder of the listening socket, because a
stranger on the port would answer too; and the secret is shown only to who has refused to answer
without it.
"""

from __future__ import annotations

from manager.comfyui import ComfyUI, Work
from manager.errors import LaunchFailed
from manager.launcher.local import LocalLauncher
from manager.records import Instance

UNGUARDED = (
    "ended: it answers without its secret, so every program of this machine could use it past the "
    "gate; does a custom node serve it in a way of its own?"
)


def answers(launcher: LocalLauncher, comfyui: ComfyUI, row: Instance) -> bool:
    """Tell whether a starting instance is ready for its gate.

    Raises:
        LaunchFailed: it answers everybody, so it must never get one.
    """
    if launcher.owns_port(row.launch_id or "", row.port) is not True:
        return False
    # One that was started before there was a guard has no secret, and is adopted as it is.
    if row.secret is not None:
        refuses = comfyui.refuses_strangers(row.port)
        if refuses is False:
            raise LaunchFailed(UNGUARDED)
        if refuses is None:
            return False
    return comfyui.queue(row.port, row.secret, fresh=True).work is not Work.UNKNOWN
