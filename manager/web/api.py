"""A user's own API: state, start, stop, log, password. Nothing here waits for a process."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from manager.errors import BadInput
from manager.web import bodies, views
from manager.web.guard import current_user
from manager.web.services import services

api = Blueprint("api", __name__, url_prefix="/api/user")

LOG_BYTES = 16_384
LOG_BYTES_MAX = 262_144


def _state() -> views.View:
    house = services()
    address = views.Address.of(request.environ)
    return views.user_state(house.manager, current_user(), address, house.revision.next())


@api.get("/state")
def state() -> ResponseReturnValue:
    """Give the user's whole state."""
    return _state()


@api.post("/start")
def start() -> ResponseReturnValue:
    """Begin an instance for the user and say how it stands."""
    services().start(current_user())
    return _state(), 202


@api.post("/stop")
def stop() -> ResponseReturnValue:
    """Begin the end of the user's instance."""
    services().stop(current_user())
    return _state(), 202


@api.post("/cancel-restart")
def cancel_restart() -> ResponseReturnValue:
    """Leave a crashed instance ended; nothing happens where none is about to start."""
    services().manager.lifecycle.cancel_restart(current_user().id)
    return _state()


@api.get("/log")
def log() -> ResponseReturnValue:
    """Give the end of what the user's own instance printed, or the last one he had."""
    lifecycle, user = services().manager.lifecycle, current_user()
    held = lifecycle.of_user(user.id)
    launch_id = held.launch_id if held else None
    if launch_id is None:
        last = lifecycle.last_usage(user.id)
        launch_id = last.launch_id if last else None
    return {"log": lifecycle.log_tail(launch_id, log_bytes()) if launch_id else ""}


def log_bytes() -> int:
    """Read how much of a log is wanted.

    Raises:
        BadInput: it is not a number from 1 to ``LOG_BYTES_MAX``.
    """
    raw = request.args.get("bytes", str(LOG_BYTES))
    if not raw.isascii() or not raw.isdigit() or not 1 <= int(raw[:9]) <= LOG_BYTES_MAX:
        raise BadInput(
            f"bytes must be a number from 1 to {LOG_BYTES_MAX}", reason="field", field="bytes"
        )
    return int(raw)


@api.post("/password")
def password() -> ResponseReturnValue:
    """Change the user's own password; his other sessions end."""
    body = bodies.read(bodies.NewPassword)
    services().change_password(current_user(), body.old_password, body.new_password)
    return {"changed": True}
