"""The admins' API for many accounts at once: a table of new ones, and acts on chosen ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from pydantic import Field

from manager import roster, runtime
from manager.accounts import Unchanged
from manager.errors import BadInput, Conflict, NotFound
from manager.records import User
from manager.states import STOPPABLE
from manager.web import i18n, rules, views
from manager.web.answers.admin import LimitsOnly
from manager.web.answers.people import AccountsOnly, People, TableSeen
from manager.web.bodies import Body, Number
from manager.web.contract import contract
from manager.web.guard import current_user, no_rights_by_token
from manager.web.house import Manager
from manager.web.people_view import people_view
from manager.web.rules_api import LimitsBody
from manager.web.services import services

admin_people = Blueprint("admin_people", __name__, url_prefix="/api/admin/people")

View = dict[str, Any]

MOST_BYTES = 256 * 1024
"""Of the request that carries a table: it holds some thousand lines."""

MOST_ROWS = 1000
MOST_PROBLEMS = 200
"""That are named at once: nobody mends more before he looks again."""


class NewPeople(Body):
    """A table as CSV; with ``dry_run`` it is only looked at."""

    table: str
    dry_run: bool


class Chosen(Body):
    """Some accounts, and whether they are to be active."""

    user_ids: list[Number] = Field(min_length=1, max_length=2000)
    is_active: bool


class ChosenLimits(LimitsBody):
    """Some accounts, and what they are to be allowed."""

    user_ids: list[Number] = Field(min_length=1, max_length=2000)


@admin_people.url_value_preprocessor
def allow_a_table(endpoint: str | None, _values: object) -> None:
    """Take a larger body than elsewhere, for the table alone."""
    # Here, for the body is measured by whoever reads it first, before the route.
    if endpoint == "admin_people.bring_in":
        request.max_content_length = MOST_BYTES


@admin_people.get("")
@contract(People)
def people() -> ResponseReturnValue:
    """Give what is known of each user beside his account."""
    return {"people": people_view(services().manager)}


@admin_people.post("/table")
@contract(TableSeen, refuses=(Conflict,))
def bring_in(body: NewPeople) -> ResponseReturnValue:
    """Look at a table of new accounts, or make them all; a line that is wrong makes none.

    Passwords that were made are in this answer and nowhere else. A token makes no admins.
    """
    house = services()
    manager = house.manager
    table = runtime.offload(roster.look, body.table, manager.settings.external_ip)
    no_rights_by_token(any(row.is_admin for row in table.rows))
    ports = [row.port for row in manager.settings.ports]
    problems = [*table.problems, *roster.misfits(table.rows, manager.accounts.users(), ports)]
    if not problems and not table.rows:
        problems.append(roster.Problem(1, BadInput("nobody is in it", reason="table_empty")))
    if len(table.rows) > MOST_ROWS:
        said = BadInput("too many lines", reason="table_long", most=MOST_ROWS)
        problems.append(roster.Problem(table.rows[MOST_ROWS].line, said))
    looked = {
        "rows": [_row_view(row) for row in table.rows[:MOST_ROWS]],
        "problems": [
            {"line": one.line, "text": i18n.error_text(one.error, i18n.language())}
            for one in sorted(problems, key=lambda one: one.line)[:MOST_PROBLEMS]
        ],
        "problem_count": len(problems),
        "made": None,
    }
    if body.dry_run:
        return looked
    if problems:
        raise BadInput("the table has wrong lines", reason="table")
    added = manager.accounts.people.create(current_user(), roster.newcomers(table.rows))
    house.live.accounts_changed()
    made = [{"username": one.user.username, "password": one.password} for one in added]
    return {**looked, "made": made}


def _row_view(row: roster.Row) -> View:
    """Show a line of a table; never the password that stands in it."""
    return {
        "line": row.line,
        "username": row.username,
        "is_admin": bool(row.is_admin),
        "is_active": row.is_active is not False,
        "assigned_port": None if isinstance(row.assigned_port, Unchanged) else row.assigned_port,
        "has_password": row.password is not None,
    }


@admin_people.patch("")
@contract(AccountsOnly, refuses=(NotFound, Conflict))
def set_active(body: Chosen) -> ResponseReturnValue:
    """Disable or enable the chosen accounts; who is disabled loses his instance too."""
    house = services()
    changed = house.manager.accounts.people.set_active(
        current_user(), body.user_ids, active=body.is_active
    )
    if not body.is_active:
        _stop_all_of(house.manager, changed)
    house.live.accounts_changed()
    return {"users": [views.user_view(user) for user in changed]}


def _stop_all_of(manager: Manager, users: Sequence[User]) -> None:
    theirs = {user.id for user in users}
    for row in manager.lifecycle.instances():
        if row.user_id in theirs and row.state in STOPPABLE:
            manager.lifecycle.stop(row.port, by=current_user(), reason="admin")


@admin_people.put("/limits")
@contract(LimitsOnly, refuses=(NotFound,))
def put_limits(body: ChosenLimits) -> ResponseReturnValue:
    """Set the limits and the priority of the chosen accounts."""
    house = services()
    wanted = [body.of_user(user_id) for user_id in dict.fromkeys(body.user_ids)]
    house.manager.lifecycle.limits.put(*wanted, by=current_user())
    house.live.accounts_changed()
    return {"limits": rules.all_limits_view(house.manager)}
