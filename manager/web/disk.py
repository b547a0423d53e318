"""What the asking user's folders take on the disk; looked up, never walked for a request."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue

from manager.counts import DiskUse
from manager.web import rules
from manager.web.answers.user import OwnDisk
from manager.web.contract import contract
from manager.web.guard import current_user
from manager.web.services import services

user_disk = Blueprint("user_disk", __name__, url_prefix="/api/user")

NEAR = 0.9
FOLDERS = ("output", "input", "user", "temp", "home")
"""In the order in which they are shown; what a walk does not name has nothing in it."""


def init_app(app: Flask) -> None:
    """Let templates ask for the same as the route gives."""
    app.jinja_env.globals["own_disk"] = own_view


def own_view() -> dict[str, Any]:
    """Show the asking user what his folders take, in bytes.

    ``known`` is None until they were walked through once; asking has that done, if it is due.
    """
    disk, user = services().manager.disk, current_user()
    there = disk.on and user.workspace is not None
    if there:
        disk.ask(user.id)
    use = disk.of_user(user.id) if there else None
    known = use and {
        "total": use.total,
        "taken_at": use.taken_at,
        "complete": use.complete,
        "folders": {name: use.folders.get(name, 0) for name in FOLDERS},
    }
    return {
        "there": there,
        "known": known,
        "under_way": disk.is_under_way(user.id),
        "warning": use and warning(use, rules.disk_view(services().manager, user)["disk_limit"]),
    }


def warning(use: DiskUse, limit: int) -> dict[str, Any] | None:
    """Say what is to be known of a limit in bytes (0: none); nothing below ``NEAR`` of it."""
    if not limit or use.total <= NEAR * limit:
        return None
    biggest = max(FOLDERS, key=lambda name: use.folders.get(name, 0))
    return {
        "over": use.total > limit,
        "limit": limit,
        "share": int(100 * use.total / limit),
        "biggest": biggest,
        "size": use.folders.get(biggest, 0),
    }


@user_disk.get("/disk")
@contract(OwnDisk)
def own_disk() -> ResponseReturnValue:
    """Give what the asking user's folders take."""
    return own_view()
