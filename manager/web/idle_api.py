"""The API against the idle limit, and of kept prompts; with forms for pages without a script."""

from __future__ import annotations

from flask import Blueprint, redirect, url_for
from flask.typing import ResponseReturnValue

from manager.errors import Conflict, NotFound, NotRunning
from manager.web import bodies, idleness
from manager.web.answers.user import KeptPrompts, UserState
from manager.web.api import own_state
from manager.web.contract import contract
from manager.web.guard import current_user
from manager.web.services import services

idle_api = Blueprint("idle_api", __name__, url_prefix="/api/user")
idle_forms = Blueprint("idle_forms", __name__)


@idle_api.post("/extend")
@contract(UserState, status=202, refuses=(NotRunning, Conflict))
def extend() -> ResponseReturnValue:
    """Let the user's session go on for some more minutes."""
    idleness.extend(services().manager, current_user())
    return own_state(), 202


@idle_api.post("/keep-awake")
@contract(UserState, status=202, refuses=(NotRunning, Conflict))
def keep_awake(body: bodies.KeepAwake) -> ResponseReturnValue:
    """Keep the user's session for announced work."""
    services().manager.lifecycle.grants.keep_awake(current_user(), body.seconds)
    return own_state(), 202


@idle_api.delete("/keep-awake")
@contract(UserState, refuses=(NotRunning,))
def end_awake() -> ResponseReturnValue:
    """Take the announcement back."""
    _end_own()
    return own_state()


@idle_api.get("/kept-prompts")
@contract(KeptPrompts)
def kept_prompts() -> ResponseReturnValue:
    """List the prompts that are offered to the user, in order."""
    return {"prompts": services().manager.lifecycle.unfinished.listing(current_user().id)}


@idle_api.post("/kept-prompts/send")
@contract(UserState, status=202, refuses=(NotFound, NotRunning))
def send_kept() -> ResponseReturnValue:
    """Begin to send them to the user's ComfyUI."""
    services().manager.lifecycle.unfinished.send(current_user())
    return own_state(), 202


@idle_api.delete("/kept-prompts")
@contract(UserState)
def drop_kept() -> ResponseReturnValue:
    """Forget them, and how the last sending went."""
    services().manager.lifecycle.unfinished.drop(current_user())
    return own_state()


@idle_forms.post("/extend")
def extend_form() -> ResponseReturnValue:
    """The same for a page without a script."""
    idleness.extend(services().manager, current_user())
    return redirect(url_for("pages.user"))


@idle_forms.post("/keep-awake")
def keep_awake_form() -> ResponseReturnValue:
    """The same for a page without a script."""
    body = bodies.read_form(bodies.KeepAwake)
    services().manager.lifecycle.grants.keep_awake(current_user(), body.seconds)
    return redirect(url_for("pages.user"))


@idle_forms.post("/keep-awake/end")
def end_awake_form() -> ResponseReturnValue:
    """The same for a page without a script."""
    _end_own()
    return redirect(url_for("pages.user"))


@idle_forms.post("/kept-prompts/send")
def send_kept_form() -> ResponseReturnValue:
    """The same for a page without a script."""
    services().manager.lifecycle.unfinished.send(current_user())
    return redirect(url_for("pages.user"))


@idle_forms.post("/kept-prompts/drop")
def drop_kept_form() -> ResponseReturnValue:
    """The same for a page without a script."""
    services().manager.lifecycle.unfinished.drop(current_user())
    return redirect(url_for("pages.user"))


def _end_own() -> None:
    user, lifecycle = current_user(), services().manager.lifecycle
    instance = lifecycle.of_user(user.id)
    if instance is None:
        raise NotRunning("nothing is announced", reason="awake")
    lifecycle.grants.end_awake(instance.port, by=user, own=True)
