"""The admins' API for limits and reservations. The guard lets only admins in."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint
from flask.typing import ResponseReturnValue
from pydantic import Field

from manager.errors import Conflict, NotFound
from manager.permits import UserLimits
from manager.web import rules
from manager.web.answers.admin import LimitsOnly, ReservationsOnly
from manager.web.bodies import Body, Moment, Number
from manager.web.contract import contract
from manager.web.guard import current_user
from manager.web.services import services

admin_rules = Blueprint("admin_rules", __name__, url_prefix="/api/admin")

DAY_S, LONGEST_S = 86_400, 2_592_000
MOST_MIB = 1 << 30


class LimitsBody(Body):
    """All limits of a user; None: as the settings say. Times in seconds, ``disk_limit`` in MiB."""

    priority: Literal["low", "normal", "high"]
    sessions_at_once: int | None = Field(ge=0, le=1)
    day_limit: int | None = Field(ge=0, le=DAY_S)
    session_limit: int | None = Field(ge=0, le=LONGEST_S)
    disk_limit: int | None = Field(default=None, ge=0, le=MOST_MIB)

    def of_user(self, user_id: int) -> UserLimits:
        """Give them as a user's own."""
        return UserLimits(
            user_id,
            *(self.priority, self.sessions_at_once),
            *(self.day_limit, self.session_limit, self.disk_limit),
        )


class ReservationBody(Body):
    """For whom a port is kept, until when (UTC epoch seconds) and why; empty: out of use."""

    user_ids: list[Number] = Field(default=[], max_length=1000)
    until: Moment | None = None
    reason: str = Field(default="", max_length=1024)


@admin_rules.put("/users/<int:user_id>/limits")
@contract(LimitsOnly, refuses=(NotFound,))
def put_limits(user_id: int, body: LimitsBody) -> ResponseReturnValue:
    """Set a user's limits and priority."""
    house = services()
    house.manager.lifecycle.limits.put(
        body.of_user(user_id),
        by=current_user(),
    )
    house.live.accounts_changed()
    return {"limits": rules.all_limits_view(house.manager)}


@admin_rules.put("/ports/<int:port>/reservation")
@contract(ReservationsOnly, refuses=(NotFound, Conflict))
def reserve(port: int, body: ReservationBody) -> ResponseReturnValue:
    """Keep a port for some users; for nobody, take it out of use."""
    services().manager.lifecycle.reservations.reserve(
        port, body.user_ids, body.until, body.reason, by=current_user()
    )
    return _changed(port)


@admin_rules.delete("/ports/<int:port>/reservation")
@contract(ReservationsOnly, refuses=(NotFound,))
def put_back(port: int) -> ResponseReturnValue:
    """Give a port back to everybody."""
    services().manager.lifecycle.reservations.put_back(port, by=current_user())
    return _changed(port)


def _changed(port: int) -> ResponseReturnValue:
    house = services()
    house.live.changed(frozenset({port}), frozenset())
    # It may concern anybody: each page is told.
    house.live.accounts_changed()
    return {"reservations": rules.reservations_view(house.manager)}
