"""The API of what is said to everybody. Making it is for admins, whom alone the guard lets in."""

from __future__ import annotations

from typing import Any, Literal

from flask import Blueprint, Flask, g, redirect, request
from flask.typing import ResponseReturnValue
from pydantic import Field
from werkzeug.wrappers import Response

from manager.errors import Conflict, ManagerError, NotFound
from manager.web.answers.notices import Notices, ServiceOnly
from manager.web.bodies import Body, Moment, Number, read_form
from manager.web.contract import contract
from manager.web.guard import current_user
from manager.web.house import Manager
from manager.web.notices import notices_view, service_view
from manager.web.pages import own_path
from manager.web.services import services

user_notices = Blueprint("user_notices", __name__)
admin_notices = Blueprint("admin_notices", __name__, url_prefix="/api/admin")

View = dict[str, Any]


def init_app(app: Flask, manager: Manager) -> None:
    """Put what is said on every page of who is logged in."""

    @app.context_processor
    def notices() -> dict[str, object]:
        user = g.get("user")
        if user is None:
            return {"notices": None}
        try:
            return {"notices": notices_view(manager, user)}
        except ManagerError:
            # The page that says so must not fail of the same.
            return {"notices": None}


class NewAnnouncement(Body):
    """A text in one language or both, and until when (UTC epoch seconds)."""

    level: Literal["notice", "warning"]
    text_en: str = Field(default="", max_length=2048)
    text_zh: str = Field(default="", max_length=2048)
    until: Moment | None = None


class NewMaintenance(Body):
    """Why nothing is started, and until when that is planned (UTC epoch seconds)."""

    reason: str = Field(default="", max_length=1024)
    until: Moment | None = None


class NoticeId(Body):
    """Which notice is put away."""

    id: Number


@user_notices.post("/announcements/put-away")
def put_away_form() -> Response:
    """Put a notice away, for a page without a script."""
    services().manager.announcements.put_away(read_form(NoticeId).id, current_user())
    return redirect(own_path(request.form.get("next", "")))


@user_notices.post("/api/user/announcements/<int:number>/put-away")
@contract(Notices, refuses=(NotFound,))
def put_away(number: int) -> ResponseReturnValue:
    """Put a notice away."""
    house, user = services(), current_user()
    house.manager.announcements.put_away(number, user)
    # His other pages too.
    house.live.changed(frozenset(), frozenset({user.id}))
    return notices_view(house.manager, user)


@admin_notices.post("/announcements")
@contract(ServiceOnly, status=201, refuses=(Conflict,))
def announce(body: NewAnnouncement) -> ResponseReturnValue:
    """Tell everybody something."""
    services().manager.announcements.make(
        body.level, body.text_en, body.text_zh, body.until, by=current_user()
    )
    return _told(), 201


@admin_notices.delete("/announcements/<int:number>")
@contract(ServiceOnly, refuses=(NotFound,))
def end_announcement(number: int) -> ResponseReturnValue:
    """Take an announcement back."""
    services().manager.announcements.end(number, by=current_user())
    return _told()


@admin_notices.put("/maintenance")
@contract(ServiceOnly)
def begin_maintenance(body: NewMaintenance) -> ResponseReturnValue:
    """Give out no card from now on, or say anew why and until when."""
    services().manager.lifecycle.maintenance.begin(body.reason, body.until, by=current_user())
    return _told()


@admin_notices.delete("/maintenance")
@contract(ServiceOnly, refuses=(NotFound,))
def end_maintenance() -> ResponseReturnValue:
    """Give out cards again."""
    services().manager.lifecycle.maintenance.end(by=current_user())
    return _told()


def _told() -> View:
    house = services()
    # It concerns everybody: each page is told.
    house.live.accounts_changed()
    return {"service": service_view(house.manager)}
