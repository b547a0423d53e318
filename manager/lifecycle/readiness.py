"""When an instance may get a gate: it answers, is the one that was started, and has its guard.

The order matters. Nobody is asked anything but the holder of the listening socket, because a
stranger on the port would answer too; and the secret is shown only to who has refused to answer
without it.
"""

from __future__ import annotations

from manager.comfyui import ComfyUI, Work
from manager.errors import LaunchFailed
from manager.launcher.protocol import Launcher, Liveness, ProcessReport
from manager.records import Address, Instance

UNGUARDED = (
    "ended: it answers without its secret, so every program of this machine could use it past the "
    "gate; does a custom node serve it in a way of its own?"
)


def ready_at(
    launcher: Launcher, comfyui: ComfyUI, row: Instance, report: ProcessReport
) -> Address | None:
    """Say where a starting instance answers that is ready for its gate; None for all others.

    Raises:
        LaunchFailed: it answers everybody, or in a way that no gate can serve, so it must never
            get one.
    """
    launch_id = row.launch_id or ""
    if report.liveness is not Liveness.ALIVE or launcher.answers_itself(launch_id) is not True:
        return None
    address = launcher.address(launch_id)
    if address is None:
        return None
    if not address.usable:
        raise LaunchFailed(
            f"no gate can serve {address}: only http is served, or https by its own certificate"
        )
    # One that was started before there was a guard has no secret, and is adopted as it is.
    if row.secret is not None:
        refuses = comfyui.refuses_strangers(address)
        if refuses is False:
            raise LaunchFailed(UNGUARDED)
        if refuses is None:
            return None
    known = comfyui.queue(address, row.secret, fresh=True).work is not Work.UNKNOWN
    return address if known else None


def waiting_stage(report: ProcessReport) -> str:
    """Name the stage of a starting instance that is not ready."""
    return "queued" if report.liveness is Liveness.QUEUED else "loading"


def not_begun(report: ProcessReport) -> str | None:
    """Say why nothing of a launch could answer so far; None where something of it runs."""
    if report.liveness is Liveness.QUEUED:
        return "no machine of the cluster had a free card for it in time"
    if report.liveness is Liveness.UNKNOWN:
        return "nobody could tell whether it has begun: the engine of the cluster does not say"
    return None
