"""The admins' API: overview, accounts, any port's stop and log. The guard lets only admins in."""

from __future__ import annotations

from flask import Blueprint
from flask.typing import ResponseReturnValue

from manager.accounts import UNCHANGED
from manager.errors import NotFound, NotRunning
from manager.records import Instance
from manager.states import STOPPABLE
from manager.web import bodies, views
from manager.web.api import log_bytes
from manager.web.guard import current_user
from manager.web.services import services

admin_api = Blueprint("admin_api", __name__, url_prefix="/api/admin")


@admin_api.get("/overview")
def overview() -> ResponseReturnValue:
    """Give everything the admin page shows."""
    return services().live.snapshot()


@admin_api.post("/users")
def create_user() -> ResponseReturnValue:
    """Make an account."""
    body = bodies.read(bodies.NewUser)
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
def update_user(user_id: int) -> ResponseReturnValue:
    """Change an account; disabling it also ends its instance and its sessions."""
    body = bodies.read(bodies.UserChange)
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
def delete_user(user_id: int) -> ResponseReturnValue:
    """Remove an account that holds no port; its workspace stays on disk."""
    services().manager.accounts.delete_user(current_user(), user_id)
    services().live.accounts_changed()
    return {"deleted": user_id}


@admin_api.post("/users/<int:user_id>/reset-password")
def reset_password(user_id: int) -> ResponseReturnValue:
    """Set a generated password and show it, this once."""
    generated = services().manager.accounts.reset_password(current_user(), user_id)
    services().live.accounts_changed()
    return {"password": generated}


@admin_api.post("/ports/<int:port>/stop")
def stop_port(port: int) -> ResponseReturnValue:
    """Begin the end of whatever holds a port."""
    manager, instance = services().manager, _instance(port)
    if instance.state not in STOPPABLE:
        raise NotRunning("there is nothing to stop")
    stopped = manager.lifecycle.stop(port, by=current_user(), reason="admin")
    return {"instance": views.instance_view(manager, stopped)}, 202


@admin_api.get("/ports/<int:port>/log")
def port_log(port: int) -> ResponseReturnValue:
    """Give the end of what a port's instance printed."""
    instance = _instance(port)
    if instance.launch_id is None:
        return {"log": ""}
    return {"log": services().manager.lifecycle.log_tail(instance.launch_id, log_bytes())}


@admin_api.post("/leftovers/<launch_id>/stop")
def stop_leftover(launch_id: str) -> ResponseReturnValue:
    """Begin the end of a launch that belongs to no row."""
    house = services()
    house.manager.lifecycle.leftovers.stop(launch_id, by=current_user())
    return {"leftovers": views.leftovers_view(house.manager)}, 202


@admin_api.post("/ports/<int:port>/release")
def release_port(port: int) -> ResponseReturnValue:
    """Give a port free that is held back."""
    house = services()
    house.manager.lifecycle.quarantine.release(port, by=current_user())
    house.live.changed(frozenset({port}), frozenset())
    return {"quarantine": views.quarantine_view(house.manager)}


def _instance(port: int) -> Instance:
    manager = services().manager
    if port not in {row.port for row in manager.settings.ports}:
        raise NotFound("the table has no such port", reason="port")
    return manager.lifecycle.instance(port)
