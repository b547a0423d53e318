"""A user's own API: state, start, stop, log, password. Nothing here waits for a process."""

from __future__ import annotations

from flask import Blueprint, request
from flask.typing import ResponseReturnValue

from manager.errors import AlreadyRunning, LimitReached, NoFreeCard, NotFound, NotRunning
from manager.web import bodies, logs, views
from manager.web.answers import Log
from manager.web.answers.user import Changed, UserState
from manager.web.contract import contract
from manager.web.guard import current_user
from manager.web.logs import LOG_FILE, LogQuery
from manager.web.services import services

api = Blueprint("api", __name__, url_prefix="/api/user")


def own_state() -> views.View:
    """Give the asking user's whole state."""
    house = services()
    user, address = current_user(), views.Address.of(request.environ)
    state = views.user_state(house.manager, user, address, house.revision.next())
    house.live.answered(user.id)
    return state


@api.get("/state")
@contract(UserState)
def state() -> ResponseReturnValue:
    """Give the user's whole state."""
    return own_state()


@api.post("/start")
@contract(UserState, status=202, refuses=(NoFreeCard, LimitReached, AlreadyRunning))
def start() -> ResponseReturnValue:
    """Begin an instance for the user and say how it stands."""
    services().start(current_user())
    return own_state(), 202


@api.post("/stop")
@contract(UserState, status=202, refuses=(NotRunning,))
def stop() -> ResponseReturnValue:
    """Begin the end of the user's instance."""
    services().stop(current_user())
    return own_state(), 202


@api.post("/line")
@contract(UserState, status=202, refuses=(AlreadyRunning, NoFreeCard, LimitReached))
def join_line() -> ResponseReturnValue:
    """Put the user at the end of the waiting line; who is in it keeps his place."""
    services().manager.lifecycle.line.join(current_user())
    return own_state(), 202


@api.delete("/line")
@contract(UserState)
def leave_line() -> ResponseReturnValue:
    """Take the user out of the line; nothing happens where he is not in it."""
    user = current_user()
    services().manager.lifecycle.line.leave(user.id, by=user)
    return own_state()


@api.post("/line/take-back")
@contract(UserState, status=202, refuses=(NotFound,))
def take_back_leaving() -> ResponseReturnValue:
    """Give a user who has just left the line his old place."""
    services().manager.lifecycle.line.take_back(current_user())
    return own_state(), 202


@api.post("/cancel-restart")
@contract(UserState)
def cancel_restart() -> ResponseReturnValue:
    """Leave a crashed instance ended; nothing happens where none is about to start."""
    services().manager.lifecycle.cancel_restart(current_user().id)
    return own_state()


@api.get("/log")
@contract(Log)
def log(query: LogQuery) -> ResponseReturnValue:
    """Give the end of what the user's own instance printed, or the last one he had."""
    return logs.log_view(_own_launch(), query)


@api.get("/log.txt")
@contract(LOG_FILE)
def log_as_file() -> ResponseReturnValue:
    """Give the same as a file, and more of it."""
    return logs.log_file(_own_launch(), "comfyui")


def _own_launch() -> str | None:
    lifecycle, user = services().manager.lifecycle, current_user()
    held = lifecycle.of_user(user.id)
    if held is not None and held.launch_id is not None:
        return held.launch_id
    last = lifecycle.last_usage(user.id)
    return last.launch_id if last else None


@api.post("/password")
@contract(Changed, by_token=False)
def password(body: bodies.NewPassword) -> ResponseReturnValue:
    """Change the user's own password; his other sessions end."""
    services().change_password(current_user(), body.old_password, body.new_password)
    return {"changed": True}
