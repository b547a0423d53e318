"""The admins' API: overview, accounts, any port's stop and log. The guard lets only admins in."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint
from flask.typing import ResponseReturnValue
from pydantic import Field

from manager.accounts import UNCHANGED
from manager.errors import Conflict, NotFound, NotRunning
from manager.records import Instance
from manager.states import STOPPABLE
from manager.web import bodies, logs, places, views
from manager.web.answers import Log
from manager.web.answers.admin import (
    GivenPassword,
    LeftoversOnly,
    LineOnly,
    Overview,
    QuarantineOnly,
    UserDeleted,
)
from manager.web.answers.instances import AccountOnly, InstanceOnly
from manager.web.contract import contract
from manager.web.guard import current_user, no_rights_by_token
from manager.web.logs import LOG_FILE, LogQuery
from manager.web.services import services

admin_api = Blueprint("admin_api", __name__, url_prefix="/api/admin")


class Sooner(bodies.Query):
    """In how many seconds an announcement ends."""

    seconds: Annotated[bodies.QueryNumber, Field(ge=0, le=999_999)] = 0


@admin_api.get("/overview")
@contract(Overview)
def overview() -> ResponseReturnValue:
    """Give everything the admin page shows."""
    return services().live.snapshot()


@admin_api.post("/users")
@contract(AccountOnly, status=201, refuses=(Conflict,))
def create_user(body: bodies.NewUser) -> ResponseReturnValue:
    """Make an account; a token makes no admins."""
    no_rights_by_token(body.is_admin)
    user = services().manager.accounts.create_user(
        current_user(),
        body.username,
        body.password,
        is_admin=body.is_admin,
        assigned_port=body.assigned_port,
    )
    services().live.accounts_changed()
    return {"user": views.user_view(user)}, 201


@admin_api.patch("/users/<int:user_id>")
@contract(AccountOnly, refuses=(NotFound, Conflict))
def update_user(user_id: int, body: bodies.UserChange) -> ResponseReturnValue:
    """Change an account; disabling it also ends its instance, sessions and tokens.

    A token does not change who is an admin.
    """
    no_rights_by_token(body.is_admin is not None)
    house = services()
    user = house.manager.accounts.update_user(
        current_user(),
        user_id,
        is_active=body.is_active,
        is_admin=body.is_admin,
        # None means «any», so leaving it out must be told apart.
        assigned_port=body.assigned_port if "assigned_port" in body.model_fields_set else UNCHANGED,
    )
    if not user.is_active:
        _stop_of(user_id)
    house.live.accounts_changed()
    return {"user": views.user_view(user)}


def _stop_of(user_id: int) -> None:
    lifecycle = services().manager.lifecycle
    instance = lifecycle.of_user(user_id)
    if instance is not None and instance.state in STOPPABLE:
        lifecycle.stop(instance.port, by=current_user(), reason="admin")


@admin_api.delete("/users/<int:user_id>")
@contract(UserDeleted, refuses=(NotFound, Conflict))
def delete_user(user_id: int) -> ResponseReturnValue:
    """Remove an account that holds no port; its workspace stays on disk."""
    services().manager.accounts.delete_user(current_user(), user_id)
    services().live.accounts_changed()
    return {"deleted": user_id}


@admin_api.post("/users/<int:user_id>/reset-password")
@contract(GivenPassword, refuses=(NotFound,), by_token=False)
def reset_password(user_id: int) -> ResponseReturnValue:
    """Set a generated password and show it, this once."""
    generated = services().manager.accounts.reset_password(current_user(), user_id)
    services().live.accounts_changed()
    return {"password": generated}


@admin_api.delete("/users/<int:user_id>/second-factor")
@contract(AccountOnly, refuses=(NotFound, Conflict), by_token=False)
def reset_second_factor(user_id: int) -> ResponseReturnValue:
    """Take somebody's second factor off, who has lost his phone and his recovery codes."""
    house = services()
    user = house.manager.accounts.second_factor.reset(current_user(), user_id)
    house.live.accounts_changed()
    return {"user": views.user_view(user)}


@admin_api.delete("/users/<int:user_id>/sessions")
@contract(AccountOnly, refuses=(NotFound,))
def end_logins(user_id: int) -> ResponseReturnValue:
    """End all of somebody's logins in browsers; account, API tokens and ComfyUI stay."""
    house = services()
    user = house.manager.accounts.own.end_all(current_user(), user_id)
    house.live.accounts_changed()
    return {"user": views.user_view(user)}


@admin_api.post("/ports/<int:port>/stop")
@contract(InstanceOnly, status=202, refuses=(NotFound, NotRunning))
def stop_port(port: int) -> ResponseReturnValue:
    """Begin the end of whatever holds a port."""
    manager, instance = services().manager, _instance(port)
    if instance.state not in STOPPABLE:
        raise NotRunning("there is nothing to stop")
    stopped = manager.lifecycle.stop(port, by=current_user(), reason="admin")
    return {"instance": views.instance_view(manager, stopped)}, 202


@admin_api.get("/ports/<int:port>/log")
@contract(Log, refuses=(NotFound,))
def port_log(port: int, query: LogQuery) -> ResponseReturnValue:
    """Give the end of what a port's instance printed."""
    return logs.log_view(_instance(port).launch_id, query)


@admin_api.get("/ports/<int:port>/log.txt")
@contract(LOG_FILE, refuses=(NotFound,))
def port_log_as_file(port: int) -> ResponseReturnValue:
    """Give the same as a file, and more of it."""
    return logs.log_file(_instance(port).launch_id, f"comfyui-{port}")


@admin_api.post("/leftovers/<launch_id>/stop")
@contract(LeftoversOnly, status=202, refuses=(NotFound,))
def stop_leftover(launch_id: str) -> ResponseReturnValue:
    """Begin the end of a launch that belongs to no row."""
    house = services()
    house.manager.lifecycle.leftovers.stop(launch_id, by=current_user())
    return {"leftovers": views.leftovers_view(house.manager)}, 202


@admin_api.delete("/line/<int:user_id>")
@contract(LineOnly, refuses=(NotFound,))
def remove_from_line(user_id: int) -> ResponseReturnValue:
    """Take somebody out of the waiting line."""
    house = services()
    house.manager.lifecycle.line.leave(user_id, by=current_user())
    return {"line": places.whole_line_view(house.manager)}


@admin_api.post("/ports/<int:port>/release")
@contract(QuarantineOnly, refuses=(NotFound,))
def release_port(port: int) -> ResponseReturnValue:
    """Give a port free that is held back."""
    house = services()
    house.manager.lifecycle.quarantine.release(port, by=current_user())
    house.live.changed(frozenset({port}), frozenset())
    return {"quarantine": views.quarantine_view(house.manager)}


@admin_api.delete("/ports/<int:port>/keep-awake")
@contract(InstanceOnly, refuses=(NotFound, NotRunning))
def end_awake_of(port: int, query: Sooner) -> ResponseReturnValue:
    """End somebody's announcement, or shorten it to ``seconds`` from now."""
    manager = services().manager
    manager.lifecycle.grants.end_awake(port, by=current_user(), own=False, seconds=query.seconds)
    return {"instance": views.instance_view(manager, _instance(port))}


def _instance(port: int) -> Instance:
    manager = services().manager
    if port not in {row.port for row in manager.settings.ports}:
        raise NotFound("the table has no such port", reason="port")
    return manager.lifecycle.instance(port)
