"""The record of use as pages, API and CSV show it: to admins all of it, to a user his own.

A period is whole days of the server's own zone; all seconds are whole and rounded down.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue

from manager import days, runtime
from manager.counts import Sitting, Total
from manager.records import User
from manager.web import bodies
from manager.web.answers.usage import OwnUsage, Usage
from manager.web.contract import Files, contract
from manager.web.guard import current_user
from manager.web.house import Manager
from manager.web.services import services

user_usage = Blueprint("user_usage", __name__, url_prefix="/api/user")
admin_usage = Blueprint("admin_usage", __name__, url_prefix="/api/admin")

View = dict[str, Any]

PERIODS: Mapping[str, int | None] = {"today": 0, "7d": 6, "30d": 29, "all": None}
"""How many days before today a period begins; None for the first there is."""

SESSIONS = "session"
"""What a CSV may have a row for, beside the groups."""

FIRST_DAY = "0001-01-01"
SHOWN_TO_ADMINS = 25
SHOWN_TO_USERS = 10
MOST_IN_CSV = 100_000

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is carried out by spreadsheet programs (OWASP, "CSV Injection")."""


Period = Literal["today", "7d", "30d", "all"]


class UsageQuery(bodies.Query):
    """Which period, and by what it is grouped."""

    period: Period = "7d"
    by: Literal["user", "day", "card"] = "user"


class TableQuery(bodies.Query):
    """The same for a CSV, which may also have a row for each session."""

    period: Period = "7d"
    by: Literal["user", "day", "card", "session"] = "user"


def _since(manager: Manager, period: str) -> str:
    before = PERIODS[period]
    today = manager.lifecycle.book.today()
    return FIRST_DAY if before is None else days.earlier(today, before)


def _seconds(record: Total | Sitting) -> View:
    """Show a record with its seconds rounded down."""
    view = dataclasses.asdict(record)
    for name, value in view.items():
        if value is not None and (name.endswith("_seconds") or name == "waited_median"):
            view[name] = int(value)
    return view


def total_view(total: Total) -> View:
    """Show a total with its share of work in percent, None where nothing is known."""
    known = total.worked_seconds + total.idle_seconds
    share = int(100 * total.worked_seconds / known) if known else None
    return {**_seconds(total), "share": share}


def admin_view(manager: Manager, period: str, group: str) -> View:
    """Show admins the totals of a period and its newest sessions."""
    book, since = manager.lifecycle.book, _since(manager, period)
    return {
        "period": period,
        "by": group,
        "totals": [total_view(total) for total in book.totals(group, since)],
        "sessions": [_seconds(one) for one in book.sittings(since, SHOWN_TO_ADMINS)],
    }


def own_view(manager: Manager, user: User) -> View:
    """Show a user his own use."""
    own = manager.lifecycle.book.own(user.id, SHOWN_TO_USERS)
    return {
        "today": total_view(own.today),
        "week": total_view(own.week),
        "sessions": [_seconds(one) for one in own.sittings],
    }


@user_usage.get("/usage")
@contract(OwnUsage)
def own_usage() -> ResponseReturnValue:
    """Give the user's own use."""
    return own_view(services().manager, current_user())


@admin_usage.get("/usage")
@contract(Usage)
def usage(query: UsageQuery) -> ResponseReturnValue:
    """Give the totals of a period (``period``), by user, day or card (``by``), and sessions."""
    return admin_view(services().manager, query.period, query.by)


@admin_usage.get("/usage.csv")
@contract(Files(("text/csv",)))
def usage_csv(query: TableQuery) -> ResponseReturnValue:
    """Give the same as CSV in UTF-8, all sessions with ``by=session``; the newest 100,000."""
    manager = services().manager
    period, group = query.period, query.by
    book, since = manager.lifecycle.book, _since(manager, period)
    if group == SESSIONS:
        text = runtime.offload(_table, book.sittings(since, MOST_IN_CSV), _session_row)
    else:
        text = runtime.offload(_table, book.totals(group, since), _total_row(group))
    name = f"usage-{book.today()}-{period}-{group}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, mimetype="text/csv", headers=headers)


def _table(records: Sequence[Any], row: Callable[[Any], View]) -> str:
    return csv_text([row(one) for one in records])


def csv_text(rows: Sequence[View]) -> str:
    """Write rows under their names, with the mark by which spreadsheets know UTF-8."""
    output = io.StringIO()
    output.write("\ufeff")
    if rows:
        writer = csv.DictWriter(output, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {name: spreadsheet_cell(value) for name, value in one.items()} for one in rows
        )
    return output.getvalue()


def spreadsheet_cell(value: object) -> object:
    """Give a value that no spreadsheet program takes for a formula."""
    if isinstance(value, str) and value.startswith(FORMULA_SIGNS):
        return f"'{value}"
    return value


def _total_row(group: str) -> Callable[[Total], View]:
    def row(total: Total) -> View:
        view = total_view(total)
        return {group: view.pop("key"), **view}

    return row


def _session_row(sitting: Sitting) -> View:
    view = _seconds(sitting)
    for name in ("started_at", "ended_at"):
        at = view[name]
        # With the zone, so that it says the same everywhere; the day is the server's.
        moment = None if at is None else dt.datetime.fromtimestamp(at, dt.timezone.utc)
        view[name] = moment.astimezone().isoformat(timespec="seconds") if moment else ""
    return view
